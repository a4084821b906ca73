/* Counts a process's calls on files below one folder, and lets the n-th fail or kills before it;
   or records what they change, for crash_images.py. Loaded by LD_PRELOAD (file_faults.py).
   Unarmed, every call goes through. */
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
static char *ours[65536];                     /* descriptor -> path of a file below root */
static int record = -1;                       /* descriptor of the record */

void faults_arm(const char *folder, long of_kinds, long nth, long number, long from_there_on) {
    strncpy(root, folder, sizeof root - 1);
    kinds = of_kinds; at = nth; error = number; sticks = from_there_on; calls = 0;
}
long faults_calls(void) { return calls; }
void faults_record(int fd) { record = fd; }

/* A record: kind, lengths of path and data, offset; path; data (of a rename: the new path). */
static void note(char kind, const char *path, long offset, const void *data, size_t n) {
    static ssize_t (*real)(int, const void *, size_t);
    if (record < 0) return;
    if (!real) real = dlsym(RTLD_NEXT, "write");
    long head[4] = { kind, (long)strlen(path), (long)n, offset };
    real(record, head, sizeof head); real(record, path, strlen(path));
    for (size_t done = 0; done < n;) {
        ssize_t k = real(record, (const char *)data + done, n - done);
        if (k <= 0) abort();
        done += k;
    }
}

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
/* The full path below root, in a buffer of the caller; NULL for any other. */
static const char *placed(char *full, int dir, const char *path) {
    if (*path == '/') return below(path) ? path : NULL;
    if (dir == AT_FDCWD || !mine(dir)) return NULL;
    snprintf(full, 4096, "%s/%s", ours[dir], path);
    return full;
}
static int noted(int fd, const char *path, int made) {
    if (fd < 0 || fd >= 65536) return fd;
    free(ours[fd]);
    ours[fd] = path ? strdup(path) : NULL;
    if (path && made) note('c', path, made, NULL, 0);
    return fd;
}
static off_t at_now(int fd) {
    struct stat about;
    if (fcntl(fd, F_GETFL) & O_APPEND) return fstat(fd, &about) ? 0 : about.st_size;
    return lseek(fd, 0, SEEK_CUR);
}
/* Of an open: 2 makes the file empty, 1 makes it if it is missing, 0 neither. */
static int making(int flags) { return flags & O_TRUNC ? 2 : flags & O_CREAT ? 1 : 0; }
#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define KIND(flags) (((flags) & (O_WRONLY | O_RDWR | O_CREAT)) ? OPEN_TO_WRITE : OPEN_TO_READ)
#define MODE(flags) mode_t mode = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

#define OPEN(dir, call) char full[4096]; MODE(flags); const char *is = placed(full, dir, path); \
    if (is && hit(KIND(flags))) return -1; \
    return noted(call, is, making(flags));
int open(const char *path, int flags, ...) { REAL(open); OPEN(AT_FDCWD, real(path, flags, mode)) }
int open64(const char *path, int flags, ...) { REAL(open64); OPEN(AT_FDCWD, real(path, flags, mode)) }
int openat(int dir, const char *path, int flags, ...) { REAL(openat); OPEN(dir, real(dir, path, flags, mode)) }
int openat64(int dir, const char *path, int flags, ...) { REAL(openat64); OPEN(dir, real(dir, path, flags, mode)) }
static int kind_of(const char *mode) { return *mode == 'r' && !strchr(mode, '+') ? OPEN_TO_READ : OPEN_TO_WRITE; }
#define FOPEN char full[4096]; const char *is = placed(full, AT_FDCWD, path); \
    if (is && hit(kind_of(mode))) return NULL; \
    FILE *file = real(path, mode); \
    if (file) noted(fileno(file), is, *mode == 'w' ? 2 : *mode == 'a'); \
    return file;
FILE *fopen(const char *path, const char *mode) { REAL(fopen); FOPEN }
FILE *fopen64(const char *path, const char *mode) { REAL(fopen64); FOPEN }
int close(int fd) { REAL(close); noted(fd, NULL, 0); return real(fd); }

#define WROTE(call, offset) if (mine(fd) && hit(WRITE)) return -1; \
    off_t place = record >= 0 && mine(fd) ? (offset) : 0; ssize_t done = call; \
    if (mine(fd) && done > 0) note('w', ours[fd], place, from, done); \
    return done;
ssize_t write(int fd, const void *from, size_t n) { REAL(write); WROTE(real(fd, from, n), at_now(fd)) }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t to) { REAL(pwrite64); WROTE(real(fd, from, n, to), to) }
ssize_t writev(int fd, const struct iovec *from, int n) {
    REAL(writev);
    if (mine(fd) && hit(WRITE)) return -1;
    if (mine(fd) && record >= 0) { /* piece by piece */
        ssize_t total = 0;
        for (int i = 0; i < n; i++) {
            ssize_t done = write(fd, from[i].iov_base, from[i].iov_len);
            if (done < 0) return total ? total : -1;
            total += done;
        }
        return total;
    }
    return real(fd, from, n);
}
ssize_t read(int fd, void *to, size_t n) { REAL(read); return mine(fd) && hit(READ) ? -1 : real(fd, to, n); }
ssize_t pread64(int fd, void *to, size_t n, off64_t from) { REAL(pread64); return mine(fd) && hit(READ) ? -1 : real(fd, to, n, from); }

#define SYNCED if (mine(fd) && hit(SYNC)) return -1; \
    int code = real(fd); if (mine(fd) && !code) note('s', ours[fd], 0, NULL, 0); return code;
int fsync(int fd) { REAL(fsync); SYNCED }
int fdatasync(int fd) { REAL(fdatasync); SYNCED }

#define CHANGED(kind, letter, dir, path, call) char full[4096]; const char *is = placed(full, dir, path); \
    if (is && hit(kind)) return -1; \
    int code = call; if (is && !code) note(letter, is, 0, NULL, 0); return code;
int mkdir(const char *path, mode_t mode) { REAL(mkdir); CHANGED(MKDIR, 'd', AT_FDCWD, path, real(path, mode)) }
int unlink(const char *path) { REAL(unlink); CHANGED(UNLINK, 'u', AT_FDCWD, path, real(path)) }
int unlinkat(int dir, const char *path, int flags) { REAL(unlinkat); CHANGED(UNLINK, 'u', dir, path, real(dir, path, flags)) }
int rmdir(const char *path) { REAL(rmdir); CHANGED(UNLINK, 'u', AT_FDCWD, path, real(path)) }
int rename(const char *old, const char *new) {
    REAL(rename);
    char full[4096]; const char *is = placed(full, AT_FDCWD, new);
    if (is && hit(RENAME)) return -1;
    int code = real(old, new);
    if (is && !code) note('r', old, 0, new, strlen(new));
    return code;
}

/* numpy.save writes through a duplicate of the descriptor, by fwrite. */
static int duplicated(int fd, int made) {
    if (made >= 0) noted(made, mine(fd) ? ours[fd] : NULL, 0);
    return made;
}
int dup(int fd) { REAL(dup); return duplicated(fd, real(fd)); }
#define FCNTL(command) va_list list; va_start(list, command); void *given = va_arg(list, void *); va_end(list); \
    int made = real(fd, command, given); \
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? duplicated(fd, made) : made;
int fcntl(int fd, int command, ...) { REAL(fcntl); FCNTL(command) }
int fcntl64(int fd, int command, ...) { static int (*real)(int, int, ...); if (!real) real = dlsym(RTLD_NEXT, "fcntl64"); FCNTL(command) }
size_t fwrite(const void *from, size_t size, size_t n, FILE *file) {
    REAL(fwrite);
    int fd = fileno(file);
    if (mine(fd) && hit(WRITE)) return 0;
    long place = record >= 0 && mine(fd) ? ftell(file) : 0;
    size_t done = real(from, size, n, file);
    if (mine(fd)) note('w', ours[fd], place, from, size * done);
    return done;
}
