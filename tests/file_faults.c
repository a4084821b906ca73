/* Counts a process's calls on files below one folder, and lets the n-th fail or kills before it.
   Loaded by LD_PRELOAD (file_faults.py). Unarmed, every call goes through. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN_TO_READ = 1, OPEN_TO_WRITE = 2, WRITE = 4, SYNC = 8, RENAME = 16, MKDIR = 32,
       UNLINK = 64, READ = 128 };

static char root[4096];
static long kinds, calls, at, sticks, error;  /* error 0: SIGKILL */
static unsigned char ours[65536];             /* descriptors of files below root */

void faults_arm(const char *folder, long of_kinds, long nth, long number, long from_there_on) {
    strncpy(root, folder, sizeof root - 1);
    kinds = of_kinds; at = nth; error = number; sticks = from_there_on; calls = 0;
}
long faults_calls(void) { return calls; }

static int below(const char *path) { return *root && !strncmp(path, root, strlen(root)); }
static int hit(int kind) {
    if (!*root || !(kinds & kind)) return 0;
    long n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    if (n != at && !(sticks && at && n > at)) return 0;
    if (!error) kill(getpid(), SIGKILL);
    errno = error;
    return 1;
}
static int mine(int fd) { return fd >= 0 && fd < 65536 && ours[fd]; }
static int noted(int fd, int is_below) { if (fd >= 0 && fd < 65536) ours[fd] = is_below; return fd; }
static int placed(int dir, const char *path) {
    return *path == '/' ? below(path) : dir == AT_FDCWD ? 0 : mine(dir);
}
#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define KIND(flags) (((flags) & (O_WRONLY | O_RDWR | O_CREAT)) ? OPEN_TO_WRITE : OPEN_TO_READ)
#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

int open(const char *path, int flags, ...) {
    REAL(open); MODE(flags); int is = placed(AT_FDCWD, path);
    return is && hit(KIND(flags)) ? -1 : noted(real(path, flags, mode), is);
}
int open64(const char *path, int flags, ...) {
    REAL(open64); MODE(flags); int is = placed(AT_FDCWD, path);
    return is && hit(KIND(flags)) ? -1 : noted(real(path, flags, mode), is);
}
int openat(int dir, const char *path, int flags, ...) {
    REAL(openat); MODE(flags); int is = placed(dir, path);
    return is && hit(KIND(flags)) ? -1 : noted(real(dir, path, flags, mode), is);
}
int openat64(int dir, const char *path, int flags, ...) {
    REAL(openat64); MODE(flags); int is = placed(dir, path);
    return is && hit(KIND(flags)) ? -1 : noted(real(dir, path, flags, mode), is);
}
static int kind_of(const char *mode) { return *mode == 'r' && !strchr(mode, '+') ? OPEN_TO_READ : OPEN_TO_WRITE; }
FILE *fopen(const char *path, const char *mode) {
    REAL(fopen); int is = placed(AT_FDCWD, path);
    if (is && hit(kind_of(mode))) return NULL;
    FILE *file = real(path, mode);
    if (file) noted(fileno(file), is);
    return file;
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(fopen64); int is = placed(AT_FDCWD, path);
    if (is && hit(kind_of(mode))) return NULL;
    FILE *file = real(path, mode);
    if (file) noted(fileno(file), is);
    return file;
}
int close(int fd) { REAL(close); noted(fd, 0); return real(fd); }
ssize_t write(int fd, const void *from, size_t n) { REAL(write); return mine(fd) && hit(WRITE) ? -1 : real(fd, from, n); }
ssize_t writev(int fd, const struct iovec *from, int n) { REAL(writev); return mine(fd) && hit(WRITE) ? -1 : real(fd, from, n); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t to) { REAL(pwrite64); return mine(fd) && hit(WRITE) ? -1 : real(fd, from, n, to); }
ssize_t read(int fd, void *to, size_t n) { REAL(read); return mine(fd) && hit(READ) ? -1 : real(fd, to, n); }
ssize_t pread64(int fd, void *to, size_t n, off64_t from) { REAL(pread64); return mine(fd) && hit(READ) ? -1 : real(fd, to, n, from); }
int fsync(int fd) { REAL(fsync); return mine(fd) && hit(SYNC) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return mine(fd) && hit(SYNC) ? -1 : real(fd); }
int rename(const char *old, const char *new) { REAL(rename); return placed(AT_FDCWD, new) && hit(RENAME) ? -1 : real(old, new); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return placed(AT_FDCWD, path) && hit(MKDIR) ? -1 : real(path, mode); }
int unlink(const char *path) { REAL(unlink); return placed(AT_FDCWD, path) && hit(UNLINK) ? -1 : real(path); }
int unlinkat(int dir, const char *path, int flags) { REAL(unlinkat); return placed(dir, path) && hit(UNLINK) ? -1 : real(dir, path, flags); }
int rmdir(const char *path) { REAL(rmdir); return placed(AT_FDCWD, path) && hit(UNLINK) ? -1 : real(path); }
