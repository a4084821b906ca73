"""Which way of reading longer input to choose: loss, latency and memory in one table."""
