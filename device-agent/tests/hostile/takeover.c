// A compromised library of ONNX Runtime. It behaves like the real one unless the file MODE names an attack, which runs when the
// library is loaded, in the worker, with the worker's rights.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *real;

static void *idle(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void look_at(const char *path) {
    int file = open(path, O_RDONLY);
    char byte;
    int is_read = file >= 0 && read(file, &byte, 1) == 1;
    dprintf(2, "%s: %s\n", path, is_read ? "was read" : strerror(errno));
}

static void flood(int file, size_t bytes, char with) {
    static char block[65536];
    memset(block, with, sizeof block);
    while (bytes > 0) {
        ssize_t written = write(file, block, sizeof block);
        if (written <= 0) return;
        bytes -= (size_t)written < bytes ? (size_t)written : bytes;
    }
}

__attribute__((constructor)) static void begin(void) {
    real = dlopen(REAL, RTLD_NOW | RTLD_GLOBAL);
    char mode[32] = {0};
    FILE *file = fopen(MODE, "r");
    if (!file || !fgets(mode, sizeof mode, file)) return;
    fclose(file);
    if (!strcmp(mode, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, idle, NULL);
    } else if (!strcmp(mode, "spy")) {
        char environment[64];
        snprintf(environment, sizeof environment, "/proc/%d/environ", getppid());
        look_at("/etc/passwd");
        look_at(environment);
        look_at(SECRET);
        _exit(1);
    } else if (!strcmp(mode, "mute")) {
        // Leaves its group where the system allows it, and closes all output.
        if (setsid() < 0) setpgid(0, 0);
        for (int open = 0; open < 64; open++) close(open);
        idle(NULL);
    } else if (!strcmp(mode, "stay")) {
        prctl(PR_SET_PDEATHSIG, 0);
        setsid();
        idle(NULL);
    } else if (!strcmp(mode, "loud")) {
        flood(2, (size_t)400 << 20, 'x');
        _exit(1);
    } else if (!strcmp(mode, "frame")) {
        // One of these is the pipe to the agent.
        for (int pipe = 3; pipe < 16; pipe++) {
            if (write(pipe, "\0\0\0\x0c", 4) == 4) flood(pipe, (size_t)192 << 20, 0);
        }
        idle(NULL);
    }
}

const void *OrtGetApiBase(void) {
    const void *(*base)(void) = (const void *(*)(void))dlsym(real, "OrtGetApiBase");
    return base();
}
