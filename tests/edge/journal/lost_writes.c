/* Remembers what a power cut would leave: for each file under LOST_UNDER the content at its last sync, and for each
 * folder the names at its last sync. Preloaded into the process under test; nothing is changed for it, except:
 *
 *   LOST_KILL_AT=n   the process is killed just before its n-th sync reaches the disk
 *   LOST_FAIL_AT=n   the n-th sync fails with EIO and keeps nothing; later ones succeed, as on Linux
 *
 * LOST_SHADOW/i<inode> holds a file's synced bytes, LOST_SHADOW/n<inode> a folder's synced names, "<inode> <name>" a
 * line. A name that was taken away without a sync of its folder is still there, and so is its content.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int syncs;

static void give_up(const char *what)
{
    perror(what);
    _exit(70);
}

static int watched(int fd, struct stat *status)
{
    char link[64], path[PATH_MAX];
    const char *under = getenv("LOST_UNDER");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!under || length < 0 || fstat(fd, status))
        return 0;
    path[length] = 0;
    size_t prefix = strlen(under);
    return !strncmp(path, under, prefix) && (path[prefix] == '/' || !path[prefix]);
}

static FILE *begin(char *beside)
{
    snprintf(beside, PATH_MAX, "%s/new", getenv("LOST_SHADOW"));
    FILE *file = fopen(beside, "w");
    if (!file)
        give_up(beside);
    return file;
}

static void end(FILE *file, const char *beside, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("LOST_SHADOW"), name);
    if (fclose(file) || rename(beside, path))
        give_up(path);
}

static void keep_file(int fd, const struct stat *status)
{
    char beside[PATH_MAX], name[64], buffer[65536];
    FILE *file = begin(beside);
    ssize_t count;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd); /* ours may be for writing only */
    int own = open(name, O_RDONLY);
    while ((count = read(own, buffer, sizeof buffer)) > 0)
        if (fwrite(buffer, 1, count, file) != (size_t)count)
            give_up(beside);
    if (count < 0)
        give_up("read");
    close(own);
    snprintf(name, sizeof name, "i%llu", (unsigned long long)status->st_ino);
    end(file, beside, name);
}

static void keep_names(int fd, const struct stat *status)
{
    char beside[PATH_MAX], name[64];
    FILE *file = begin(beside);
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *folder = own < 0 ? NULL : fdopendir(own);
    if (!folder)
        give_up("fdopendir");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.')
            fprintf(file, "%llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
    closedir(folder);
    snprintf(name, sizeof name, "n%llu", (unsigned long long)status->st_ino);
    end(file, beside, name);
}

static int synced(int fd, int (*real)(int))
{
    struct stat status;
    if (!watched(fd, &status))
        return real(fd);
    const char *kill_at = getenv("LOST_KILL_AT"), *fail_at = getenv("LOST_FAIL_AT");
    syncs++;
    if (kill_at && atoi(kill_at) == syncs)
        raise(SIGKILL);
    if (fail_at && atoi(fail_at) == syncs) {
        errno = EIO;
        return -1;
    }
    if (S_ISDIR(status.st_mode))
        keep_names(fd, &status);
    else
        keep_file(fd, &status);
    return 0; /* the disk itself is not in question, and not worn */
}

int fsync(int fd)
{
    return synced(fd, (int (*)(int))dlsym(RTLD_NEXT, "fsync"));
}

int fdatasync(int fd)
{
    return synced(fd, (int (*)(int))dlsym(RTLD_NEXT, "fdatasync"));
}
