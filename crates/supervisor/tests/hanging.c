/* To be preloaded into the supervisor: a user database that does not answer for one user, and a file system that does
 * not answer when a program is run from it whose path contains HANGING. */
#define _GNU_SOURCE
#include <pwd.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **result)
{
    static struct passwd root = {"root", "x", 0, 0, "", "/", "/bin/sh"};
    (void)buffer, (void)size;
    while (uid == 65534)
        pause();
    *entry = root;
    *result = entry;
    return 0;
}

int execve(const char *path, char *const arguments[], char *const environment[])
{
    while (strstr(path, "HANGING"))
        pause();
    return syscall(SYS_execve, path, arguments, environment);
}
