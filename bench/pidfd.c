/* Preloaded into Apache below valgrind, which knows no pidfd_open() before 3.24: the module refuses to start its supervisor without the
   descriptor. Here it gets one that is good for nothing but being there; whoever has the system call, as the supervisor itself, keeps it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>

long syscall(long number, ...)
{
    long arguments[6];
    va_list list;

    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    long (*original)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long result = original(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
    if (number == SYS_pidfd_open && result < 0 && errno == ENOSYS)
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    return result;
}
