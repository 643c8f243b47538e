/* A disk that refuses: calls FAIL_FROM to FAIL_FROM + FAIL_COUNT - 1, of those that make, grow, name or shorten a file
 * under FAIL_UNDER, fail with the error number FAIL_ERRNO and do nothing. With FAIL_SLOW_US set, each sync takes so long.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int calls;

static long number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int under(const char *path)
{
    const char *folder = getenv("FAIL_UNDER");
    size_t prefix = folder ? strlen(folder) : 0;
    return folder && *folder && !strncmp(path, folder, prefix) && (path[prefix] == '/' || !path[prefix]);
}

static int under_fd(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return under(path);
}

static int refused(void)
{
    int call = __sync_add_and_fetch(&calls, 1);
    long from = number("FAIL_FROM");
    if (!from || call < from || call >= from + number("FAIL_COUNT"))
        return 0;
    errno = (int)number("FAIL_ERRNO");
    return 1;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...)                         \
    {                                                                  \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        if (flags & O_CREAT && under(path) && access(path, F_OK) && refused()) \
            return -1;                                                 \
        return REAL(int, #name, const char *, int, ...)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (under_fd(fd) && refused())
        return -1;
    return REAL(ssize_t, "write", int, const void *, size_t)(fd, bytes, count);
}

#define PWRITE(name, offset)                                           \
    ssize_t name(int fd, const void *bytes, size_t count, offset at)   \
    {                                                                  \
        if (under_fd(fd) && refused())                                 \
            return -1;                                                 \
        return REAL(ssize_t, #name, int, const void *, size_t, offset)(fd, bytes, count, at); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

int rename(const char *from, const char *to)
{
    if (under(to) && refused())
        return -1;
    return REAL(int, "rename", const char *, const char *)(from, to);
}

int mkdir(const char *path, mode_t mode)
{
    if (under(path) && refused())
        return -1;
    return REAL(int, "mkdir", const char *, mode_t)(path, mode);
}

int fsync(int fd)
{
    if (number("FAIL_SLOW_US") && under_fd(fd))
        usleep((useconds_t)number("FAIL_SLOW_US"));
    return REAL(int, "fsync", int)(fd);
}

int fdatasync(int fd)
{
    if (number("FAIL_SLOW_US") && under_fd(fd))
        usleep((useconds_t)number("FAIL_SLOW_US"));
    return REAL(int, "fdatasync", int)(fd);
}
