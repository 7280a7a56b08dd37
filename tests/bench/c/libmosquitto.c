/* libmosquitto on one thread: libmosquitto PORT JOB COUNT SIZE. The caller's thread writes, and reads many packets
 * between two calls of mosquitto_loop: the fastest that the library allows. What is printed is as in
 * ../src/peers/mod.rs. */
#include <mosquitto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_UP 200

/* Under way at once. The list of these is walked at each acknowledgement: more make it slower. */
static const long window = 100;
static const char topic[] = "sensors/room1/temp";

static int port;
static long connected, acknowledged, received, subscribed;
static double began, processor_began;

static double seconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void start(void) {
    processor_began = seconds(CLOCK_PROCESS_CPUTIME_ID);
    began = seconds(CLOCK_MONOTONIC);
}

static void report(const char *more) {
    double time = seconds(CLOCK_MONOTONIC) - began;
    printf("seconds=%.6f processor=%.6f %s\n", time, seconds(CLOCK_PROCESS_CPUTIME_ID) - processor_began, more);
}

static void on_connect(struct mosquitto *m, void *data, int code) {
    (void)m, (void)data, (void)code;
    connected++;
}

static void on_publish(struct mosquitto *m, void *data, int id) {
    (void)m, (void)data, (void)id;
    acknowledged++;
}

static void on_subscribe(struct mosquitto *m, void *data, int id, int count, const int *granted) {
    (void)m, (void)data, (void)id, (void)count, (void)granted;
    subscribed++;
    puts("subscribed");
    fflush(stdout);
}

static void on_message(struct mosquitto *m, void *data, const struct mosquitto_message *message) {
    (void)m, (void)data, (void)message;
    if (received++ == 0) start();
}

static void loop(struct mosquitto *m) {
    if (mosquitto_loop(m, 100, 1) != MOSQ_ERR_SUCCESS) {
        fputs("the connection was lost\n", stderr);
        exit(1);
    }
}

static struct mosquitto *client(bool nodelay) {
    struct mosquitto *m = mosquitto_new(NULL, true, NULL);
    mosquitto_connect_callback_set(m, on_connect);
    mosquitto_publish_callback_set(m, on_publish);
    mosquitto_subscribe_callback_set(m, on_subscribe);
    mosquitto_message_callback_set(m, on_message);
    mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, 65535);
    if (nodelay) mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    long before = connected;
    if (mosquitto_connect(m, "127.0.0.1", port, 60)) {
        perror("connect");
        exit(1);
    }
    while (connected == before) loop(m);
    return m;
}

static void publish(const char *payload, int size, long count, int qos) {
    struct mosquitto *m = client(false);
    start();
    if (qos == 0) {
        for (long n = 1; n < count; n++) {
            mosquitto_publish(m, NULL, topic, size, payload, 0, false);
            while (mosquitto_want_write(m)) loop(m);
        }
        /* those of QoS 0 count as published when they are written */
        mosquitto_publish(m, NULL, topic, size, payload, 1, false);
        while (acknowledged < count) loop(m);
    } else {
        for (long sent = 0; acknowledged < count; loop(m))
            for (; sent < count && sent - acknowledged < window; sent++)
                mosquitto_publish(m, NULL, topic, size, payload, qos, false);
    }
    report("");
    mosquitto_disconnect(m);
}

static void receive(int size, long count, int qos) {
    char filter[64];
    snprintf(filter, sizeof filter, "blast/%09ld/%08d/%d", count, size, qos);
    struct mosquitto *m = client(false);
    mosquitto_subscribe(m, NULL, filter, qos);
    while (received < count) {
        loop(m);
        for (int n = 0; n < 100; n++) mosquitto_loop_read(m, 1);
    }
    report("");
    mosquitto_disconnect(m);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void echo(const char *payload, int size, long count) {
    struct mosquitto *m = client(true);
    double *times = malloc(count * sizeof *times);
    char more[64];
    mosquitto_subscribe(m, NULL, "echo", 0);
    while (!subscribed) loop(m);
    start();
    for (long n = -WARM_UP; n < count; n++) {
        long before = received;
        double sent = seconds(CLOCK_MONOTONIC);
        mosquitto_publish(m, NULL, "echo", size, payload, 0, false);
        while (received == before) loop(m);
        if (n >= 0) times[n] = seconds(CLOCK_MONOTONIC) - sent;
    }
    qsort(times, count, sizeof *times, compare);
    snprintf(more, sizeof more, "p50=%.2f p99=%.2f", times[count / 2] * 1e6, times[count * 99 / 100] * 1e6);
    report(more);
    free(times);
    mosquitto_disconnect(m);
}

static long resident(void) {
    long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &all, &pages) != 2) exit(1);
    fclose(file);
    return pages * 4096;
}

int main(int count_of_arguments, char **arguments) {
    if (count_of_arguments < 5) return 2;
    port = atoi(arguments[1]);
    const char *job = arguments[2];
    long count = atol(arguments[3]);
    int size = atoi(arguments[4]), qos = job[strlen(job) - 1] - '0';
    char *payload = malloc(size + 1);
    for (int n = 0; n < size; n++) payload[n] = 'a' + n % 26;
    mosquitto_lib_init();
    if (!strncmp(job, "publish", 7)) publish(payload, size, count, qos);
    else if (!strncmp(job, "receive", 7)) receive(size, count, qos);
    else if (!strcmp(job, "echo")) echo(payload, size, count);
    else if (!strcmp(job, "connect")) {
        start();
        for (long n = 0; n < count; n++) {
            struct mosquitto *m = client(false);
            mosquitto_disconnect(m);
            mosquitto_destroy(m);
        }
        report("");
    } else if (!strcmp(job, "idle")) {
        char more[64];
        client(false);
        long before = resident();
        start();
        for (long n = 0; n < count; n++) client(false);
        snprintf(more, sizeof more, "memory=%ld", (resident() - before) / count);
        report(more);
    } else return 2;
    return 0;
}
