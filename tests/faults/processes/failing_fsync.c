/* Preloaded: the FSYNC_FAILS_AT-th fsync of a file whose path contains FSYNC_PATH fails with EIO, once, as Linux does it:
   the pages count as clean after that, so the next fsync succeeds though the data is lost. FSYNC_LOG has a line for each. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int count;

static int sync_file(int descriptor, const char *name) {
    char link[64], path[4096], line[4200];
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *wanted = getenv("FSYNC_PATH"), *at = getenv("FSYNC_FAILS_AT"), *log = getenv("FSYNC_LOG");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!wanted || !at || !log || length < 0) return next(descriptor);
    path[length] = 0;
    if (!strstr(path, wanted)) return next(descriptor);
    int fails = ++count == atoi(at);
    int written = snprintf(line, sizeof line, "%s %s\n", fails ? "failed" : "synced", path);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out >= 0) {
        if (write(out, line, written) < 0) abort();
        close(out);
    }
    if (!fails) return next(descriptor);
    errno = EIO;
    return -1;
}

int fsync(int descriptor) { return sync_file(descriptor, "fsync"); }
int fdatasync(int descriptor) { return sync_file(descriptor, "fdatasync"); }
