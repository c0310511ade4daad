/* Preloaded before libc: writes down every change to files below $SHIM_ROOT, in order, into $SHIM_LOG, so that a test
   can work out what a disk may hold after a power cut at any moment; and lets writes fail as on a full disk.

   A record: one letter, then little-endian 64-bit numbers: file number, offset, length; then `length` bytes.
   O open or create (data: path; offset: 1 if it was made new) · W write · T truncate (offset: the new size)
   S sync of a file · U unlink (data: path) · R rename (data: old NUL new) · D sync of a directory */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 4096
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static const char *root;
static long number_of[FILES]; /* by descriptor: 0 not ours, -1 a directory */
static long next_number = 1;

long shim_writes_left = -1; /* set by the test: so many writes succeed, then the disk is full; -1: never */

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);

static void start(void) {
    if (real_write) return;
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_write = dlsym(RTLD_NEXT, "write");
    root = getenv("SHIM_ROOT");
    const char *path = getenv("SHIM_LOG");
    if (path) log_fd = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(char kind, long file, long offset, const void *data, size_t length) {
    if (log_fd < 0) return;
    int64_t numbers[3] = {file, offset, (int64_t)length};
    pthread_mutex_lock(&lock);
    real_write(log_fd, &kind, 1);
    real_write(log_fd, numbers, sizeof numbers);
    if (length) real_write(log_fd, data, length);
    pthread_mutex_unlock(&lock);
}

static int ours(const char *path) { return root && path && strncmp(path, root, strlen(root)) == 0; }
static long number(int fd) { return fd >= 0 && fd < FILES ? number_of[fd] : 0; }

static int full(void) {
    if (shim_writes_left < 0) return 0;
    if (shim_writes_left == 0) { errno = ENOSPC; return 1; }
    shim_writes_left--;
    return 0;
}

static int opened(const char *path, int flags, mode_t mode) {
    start();
    struct stat before;
    int is_new = (flags & O_CREAT) && ours(path) && stat(path, &before) != 0;
    if (is_new && shim_writes_left == 0) { errno = ENOSPC; return -1; }
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FILES && ours(path)) {
        struct stat now;
        if (fstat(fd, &now) == 0 && S_ISDIR(now.st_mode)) number_of[fd] = -1;
        else {
            number_of[fd] = next_number++;
            note('O', number_of[fd], is_new, path, strlen(path));
        }
    }
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more);
    return opened(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more);
    return opened(path, flags, mode);
}

int close(int fd) {
    start();
    if (fd >= 0 && fd < FILES) number_of[fd] = 0;
    return real_close(fd);
}

ssize_t write(int fd, const void *data, size_t count) {
    start();
    if (number(fd) <= 0) return real_write(fd, data, count);
    if (full()) return -1;
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = real_write(fd, data, count);
    if (done > 0) note('W', number(fd), at, data, done);
    return done;
}

static ssize_t written(int fd, const void *data, size_t count, off_t at) {
    start();
    if (number(fd) <= 0) return real_pwrite(fd, data, count, at);
    if (full()) return -1;
    ssize_t done = real_pwrite(fd, data, count, at);
    if (done > 0) note('W', number(fd), at, data, done);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return written(fd, data, count, at); }
ssize_t pwrite64(int fd, const void *data, size_t count, off_t at) { return written(fd, data, count, at); }

static int truncated(int fd, off_t size, const char *name) {
    start();
    int (*real)(int, off_t) = dlsym(RTLD_NEXT, name);
    int result = real(fd, size);
    if (result == 0 && number(fd) > 0) note('T', number(fd), size, NULL, 0);
    return result;
}
int ftruncate(int fd, off_t size) { return truncated(fd, size, "ftruncate"); }
int ftruncate64(int fd, off_t size) { return truncated(fd, size, "ftruncate64"); }

static int synced(int fd, const char *name) {
    start();
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    int result = real(fd);
    if (result == 0 && number(fd) > 0) note('S', number(fd), 0, NULL, 0);
    if (result == 0 && number(fd) < 0) note('D', 0, 0, NULL, 0);
    return result;
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int unlink(const char *path) {
    start();
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    int result = real(path);
    if (result == 0 && ours(path)) note('U', 0, 0, path, strlen(path));
    return result;
}

int rename(const char *from, const char *to) {
    start();
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    int result = real(from, to);
    if (result == 0 && ours(from)) {
        size_t a = strlen(from), b = strlen(to);
        char *both = malloc(a + 1 + b);
        memcpy(both, from, a + 1);
        memcpy(both + a + 1, to, b);
        note('R', 0, 0, both, a + 1 + b);
        free(both);
    }
    return result;
}
