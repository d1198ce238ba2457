/* Real faults under a real program, by LD_PRELOAD. Only files below the directory FAULT_DIR count.
 *
 * FAULT_SYNC=n    the n-th sync of a file fails with EIO, and syncs nothing
 * FAULT_MEDIUM=d  what a sync makes durable is copied to the directory d: a file's contents as
 *                 d/<inode>, a directory's names as d/names. A power cut is then played by making
 *                 the directory what d says, which takes every write since then back.
 *
 * Writes go past this layer (they are system calls without libc); syncs do not. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long syncs;

/* Whole, or not at all: the program may be killed here. */
static void publish(const char *name, const char *bytes, size_t length) {
  char path[4096], aside[4200];
  snprintf(path, sizeof path, "%s/%s", getenv("FAULT_MEDIUM"), name);
  snprintf(aside, sizeof aside, "%s.aside", path);
  int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || rename(aside, path)) abort();
  close(fd);
}

static void keep_file(const char *path, const struct stat *st) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return; /* renamed meanwhile: the next sync keeps it */
  char *bytes = malloc(st->st_size + 1);
  ssize_t length = bytes ? pread(fd, bytes, st->st_size, 0) : -1;
  if (length < 0) abort();
  char name[32];
  snprintf(name, sizeof name, "%lu", (unsigned long)st->st_ino);
  publish(name, bytes, length);
  free(bytes);
  close(fd);
}

static void keep_names(const char *path) {
  static char out[1 << 16];
  size_t length = 0;
  DIR *dir = opendir(path);
  for (struct dirent *entry; dir && (entry = readdir(dir));)
    if (entry->d_type == DT_REG && length < sizeof out - 512)
      length += sprintf(out + length, "%lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
  if (dir) closedir(dir);
  publish("names", out, length);
}

static int sync_of(int fd, const char *name) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  const char *dir = getenv("FAULT_DIR");
  char path[4096], link[64];
  struct stat st;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (!dir || length <= 0 || fstat(fd, &st)) return real(fd);
  path[length] = 0;
  if (strncmp(path, dir, strlen(dir)) != 0) return real(fd);

  pthread_mutex_lock(&lock);
  const char *fails = getenv("FAULT_SYNC");
  int failed = S_ISREG(st.st_mode) && ++syncs == (fails ? atol(fails) : 0);
  int result = failed ? -1 : real(fd);
  if (!result && getenv("FAULT_MEDIUM")) {
    if (S_ISREG(st.st_mode)) keep_file(path, &st);
    else if (strcmp(path, dir) == 0) keep_names(path);
  }
  pthread_mutex_unlock(&lock);
  if (failed) errno = EIO;
  return result;
}

int fdatasync(int fd) { return sync_of(fd, "fdatasync"); }
int fsync(int fd) { return sync_of(fd, "fsync"); }
