/* Reads what subscribers are sent, for benchmarks/fanout.py, and is no bottleneck while it does.
 *
 *     reader FIRST LAST
 *
 * The sockets FIRST to LAST are open and subscribed already. Every message holds the mark "#~" once
 * and nothing else does, so that counting marks counts messages in any protocol. (One character
 * would not do: the head of a frame may have any.)
 * A line "N" on standard input is answered with "N" once N more messages came, a line "N timed"
 * with "N" and the moment of arrival of each of them, in nanoseconds of CLOCK_MONOTONIC.
 *
 * Unless arrivals are timed it naps between looks: waking a reader for every message is work that
 * the kernel does at the cost of who sends, and which clients on other machines do not cause.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BEFORE = '#', MARK = '~', FILES = 1 << 16, EVENTS = 1024 };
enum { BUFFER = 1 << 20, ARRIVALS = 1 << 16, NAP_NS = 500000 };

struct arrival {
    long long when_ns;
    long messages;
};

static char buffer[BUFFER];
static struct arrival arrivals[ARRIVALS];
static size_t arrived;
static char last_of[FILES];

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Returns how many messages a socket had. */
static long read_socket(int fd)
{
    ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size <= 0)
        fail("a subscriber was disconnected");
    long messages = 0;
    const char *end = buffer + size, *at = buffer;
    while ((at = memchr(at, MARK, end - at)) != NULL) {
        char before = at == buffer ? last_of[fd] : at[-1];
        messages += before == BEFORE;
        at++;
    }
    last_of[fd] = end[-1];
    if (messages && arrived < ARRIVALS)
        arrivals[arrived++] = (struct arrival){now_ns(), messages};
    return messages;
}

static void answer(long expected, int timed)
{
    printf("%ld", expected);
    for (size_t at = 0; timed && at < arrived; at++)
        for (long message = 0; message < arrivals[at].messages; message++)
            printf(" %lld", arrivals[at].when_ns);
    puts("");
    fflush(stdout);
    arrived = 0;
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    int epoll = epoll_create1(0);
    struct epoll_event events[EVENTS], wanted = {.events = EPOLLIN};
    int last = atoi(arguments[2]);
    if (last >= FILES)
        return 2;
    for (int fd = atoi(arguments[1]); fd <= last; fd++) {
        wanted.data.fd = fd;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &wanted))
            fail("a socket cannot be watched");
    }
    wanted.data.fd = STDIN_FILENO;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &wanted);
    long seen = 0, expected = 0;
    int timed = 0;
    const struct timespec nap = {.tv_nsec = NAP_NS};
    for (;;) {
        if (!timed)
            nanosleep(&nap, NULL);
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            if (fd != STDIN_FILENO) {
                seen += read_socket(fd);
                continue;
            }
            char line[64];
            ssize_t size = read(STDIN_FILENO, line, sizeof line - 1);
            if (size <= 0)
                return 0;
            line[size] = 0;
            expected = atol(line);
            timed = strstr(line, "timed") != NULL;
        }
        if (expected && seen >= expected) {
            answer(expected, timed);
            seen -= expected;
            expected = 0;
        }
    }
}
