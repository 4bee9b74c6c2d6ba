/* A program in the agent's place. It takes its configuration, as the agent does, and does what the variable STRANGER in it
 * says: "trickle" answers a byte a second without an end, "flood" as many bytes as are taken, "binary" a few that are no
 * text, "mute" nothing. Whoever has no such variable gets a proper answer, and nobody that serves. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char config[1 << 20];

int main(void) {
    const char ready[] = "{\"ready\":{\"protocol\":1,\"version\":\"stranger\"}}";
    size_t length = 0;
    ssize_t got;
    while (length < sizeof config - 1 && (got = read(3, config + length, sizeof config - 1 - length)) > 0)
        length += (size_t)got;
    if (strstr(config, "trickle"))
        while (send(3, " ", 1, MSG_NOSIGNAL) == 1)
            sleep(1);
    else if (strstr(config, "flood"))
        while (send(3, config, sizeof config, MSG_NOSIGNAL) > 0)
            ;
    else if (strstr(config, "binary"))
        send(3, "\xff\xfe\0\x01", 4, MSG_NOSIGNAL);
    else if (!strstr(config, "mute"))
        send(3, ready, sizeof ready - 1, MSG_NOSIGNAL);
    else
        pause();
    close(3);
    for (;;)
        pause();
}
