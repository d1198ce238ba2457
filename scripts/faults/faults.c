/* Real faults under a real program, by LD_PRELOAD. Only files below the directory FAULT_DIR count.
 *
 * FAULT_SYNC=n    the n-th sync of a file fails with EIO, and syncs nothing; a write by a descriptor with
 *                 O_DSYNC is a sync too, and writes nothing then
 * FAULT_BACK=n    the n-th call that begins to write back fails with EIO
 * FAULT_MEDIUM=d  what a sync makes durable is copied to the directory d: a file's contents as
 *                 d/<inode>, a directory's names as d/names. A power cut is then played by making
 *                 the directory what d says, which takes every write since then back.
 *
 * Other writes go past this layer (they are system calls without libc). */
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
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long syncs, backs;

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

/* What a write past the cache made durable: that range, and nothing else. */
static void keep_range(const struct stat *st, const char *bytes, size_t length, off_t offset) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%lu", getenv("FAULT_MEDIUM"), (unsigned long)st->st_ino);
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || syscall(SYS_pwrite64, fd, bytes, length, offset) != (ssize_t)length) abort();
  close(fd);
}

/* Whether this is one of ours, and which. */
static int ours(int fd, char *path, size_t room, struct stat *st) {
  const char *dir = getenv("FAULT_DIR");
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, room - 1);
  if (!dir || length <= 0 || fstat(fd, st)) return 0;
  path[length] = 0;
  return strncmp(path, dir, strlen(dir)) == 0;
}

static int fails_now(const struct stat *st) {
  const char *fails = getenv("FAULT_SYNC");
  return S_ISREG(st->st_mode) && ++syncs == (fails ? atol(fails) : 0);
}

static int sync_of(int fd, const char *name) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
  char path[4096];
  struct stat st;
  if (!ours(fd, path, sizeof path, &st)) return real(fd);

  pthread_mutex_lock(&lock);
  int failed = fails_now(&st);
  int result = failed ? -1 : real(fd);
  if (!result && getenv("FAULT_MEDIUM")) {
    if (S_ISREG(st.st_mode)) keep_file(path, &st);
    else if (strcmp(path, getenv("FAULT_DIR")) == 0) keep_names(path);
  }
  pthread_mutex_unlock(&lock);
  if (failed) errno = EIO;
  return result;
}

int fdatasync(int fd) { return sync_of(fd, "fdatasync"); }
int fsync(int fd) { return sync_of(fd, "fsync"); }

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
  char path[4096];
  struct stat st;
  const char *fails = getenv("FAULT_BACK");
  if (!fails || !ours(fd, path, sizeof path, &st))
    return syscall(SYS_sync_file_range, fd, offset, length, flags);

  pthread_mutex_lock(&lock);
  int failed = ++backs == atol(fails);
  pthread_mutex_unlock(&lock);
  if (failed) errno = EIO;
  return failed ? -1 : 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  char path[4096];
  struct stat st;
  if (!(fcntl(fd, F_GETFL) & O_DSYNC) || !ours(fd, path, sizeof path, &st))
    return syscall(SYS_pwrite64, fd, bytes, length, offset);

  pthread_mutex_lock(&lock);
  int failed = fails_now(&st);
  ssize_t result = failed ? -1 : syscall(SYS_pwrite64, fd, bytes, length, offset);
  int error = failed ? EIO : errno;
  if (result > 0 && getenv("FAULT_MEDIUM")) keep_range(&st, bytes, result, offset);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
