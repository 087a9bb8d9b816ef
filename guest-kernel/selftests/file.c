// SPDX-License-Identifier: GPL-2.0-only
/* Polled I/O to files, in a directory on a device that can poll. */
#include <limits.h>
#include <linux/fs.h>
#include <linux/gfs2_ondisk.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "tests.h"

#define FILE_LEN	(16UL << 20)
#define NR_BLOCKS	(FILE_LEN / BLOCK)
/* No system call may take longer than this, in seconds. */
#define STALL		(1.0 * slowness())
/*
 * Where a file system writes what it has to allocate through the page cache, as
 * gfs2 does, and waits for each of them by interrupt, a submission may take this
 * longer for each. A request that waits to be polled by the worker costs 0.1 s.
 */
#define SYNCHRONOUS	(0.02 * slowness())

static int open_file(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	flags |= O_RDWR | O_DIRECT;
	if (flags & O_CREAT)
		unlink(path);
	fd = open(path, flags, 0600);
	if (fd < 0) {
		printf("# cannot open %s: %s\n", path, strerror(errno));
		fflush(stdout);
		_exit(FAIL);
	}
	return fd;
}

/* What block @nr of a file holds after it was written for the @round-th time. */
static void stamp(void *buf, size_t len, unsigned long nr, unsigned int round)
{
	uint64_t *words = buf;
	size_t i;

	for (i = 0; i < len / sizeof(*words); i++)
		words[i] = (uint64_t)nr << 32 ^ (uint64_t)round << 16 ^ i;
}

static bool has_stamp(const void *buf, size_t len, unsigned long nr,
		      unsigned int round)
{
	static uint64_t want[SPLIT_LEN / 8];

	stamp(want, len, nr, round);
	return !memcmp(buf, want, len);
}

/* A file whose blocks are allocated, written and on the device. */
static int prepared_file(const char *name)
{
	int fd = open_file(name, O_CREAT);
	char *buf = pages(1 << 20);
	size_t at, i;

	for (at = 0; at < FILE_LEN; at += 1 << 20) {
		for (i = 0; i < 1 << 20; i += BLOCK)
			stamp(buf + i, BLOCK, (at + i) / BLOCK, 0);
		if (pwrite(fd, buf, 1 << 20, (off_t)at) != 1 << 20) {
			printf("# cannot write: %s\n", strerror(errno));
			fflush(stdout);
			_exit(FAIL);
		}
	}
	fsync(fd);
	return fd;
}

/* A stream of requests of one kind, as deep as possible. */
struct stream {
	int fd;
	int op;
	size_t len;
	unsigned int depth;	/* nr_events of the context */
	unsigned int total;	/* requests */
	unsigned int round;	/* stamp to write, or to expect */
	bool fixed;		/* mapped iocbs and buffers */
	bool synchronous;	/* the file system waits for each of them */
	/* which place the nth request goes to, in units of len */
	unsigned long (*place)(unsigned long n);
};

static unsigned long in_order(unsigned long n)
{
	return n;
}

static unsigned long scattered(unsigned long n)
{
	return n * 1237 % NR_BLOCKS;
}

static int run_stream(const struct stream *s)
{
	struct iocb *iocbs = pages(s->depth * sizeof(*iocbs));
	unsigned int submitted = 0, done = 0, free_slots[MANY], nr_free = 0, i;
	char *bufs = pages(s->depth * s->len);
	struct io_event events[MANY];
	aio_context_t ctx = 0;

	for (i = 0; i < s->depth; i++) {
		prep_hipri(&iocbs[i], s->op, s->fd, bufs + i * s->len, s->len,
			   0);
		free_slots[nr_free++] = i;
	}
	CHECK_EQ(sys_io_setup2(s->depth, IOPOLL |
			       (s->fixed ? USERIOCB | FIXEDBUFS : 0), iocbs,
			       NULL, NULL, &ctx), 0);

	while (done < s->total) {
		unsigned int nr = nr_free;
		struct iocb *ptrs[MANY];
		double start;
		long ret;

		if (nr > s->total - submitted)
			nr = s->total - submitted;
		for (i = 0; i < nr; i++) {
			unsigned int k = free_slots[nr_free - 1 - i];
			unsigned long place = s->place(submitted + i);

			iocbs[k].aio_offset = (off_t)(place * s->len);
			iocbs[k].aio_data = (uint64_t)place << 32 | k;
			if (s->op == IOCB_CMD_PWRITE)
				stamp(bufs + k * s->len, s->len, place,
				      s->round);
			ptrs[i] = s->fixed ? slot(k) : &iocbs[k];
		}

		start = now();
		ret = sys_io_submit(ctx, nr, ptrs);
		CHECK(now() - start <
		      STALL + (s->synchronous ? nr * SYNCHRONOUS : 0),
		      "submit took %.3f s", now() - start);
		CHECK(ret >= 0 || ret == -EAGAIN, "submit: %s",
		      strerror((int)-ret));
		if (ret > 0) {
			nr_free -= (unsigned int)ret;
			submitted += (unsigned int)ret;
		}

		start = now();
		ret = sys_io_getevents(ctx, 1, s->depth, events, NULL);
		CHECK(now() - start < STALL, "reap took %.3f s", now() - start);
		CHECK(ret > 0 || submitted == done, "reap: %ld", ret);
		while (ret-- > 0) {
			unsigned int k = (unsigned int)events[ret].data;
			unsigned long place = events[ret].data >> 32;

			CHECK_EQ(events[ret].res, (long)s->len);
			CHECK(s->op != IOCB_CMD_PREAD ||
			      has_stamp(bufs + k * s->len, s->len, place,
					s->round),
			      "wrong data at %lu", place);
			free_slots[nr_free++] = k;
			done++;
		}
	}
	CHECK_EQ(sys_io_destroy(ctx), 0);
	munmap(bufs, s->depth * s->len);
	return PASS;
}

static int overwrite_and_read(unsigned int depth, bool fixed)
{
	struct stream s = { .fd = prepared_file("data"), .len = BLOCK,
			    .depth = depth, .total = NR_BLOCKS,
			    .place = scattered, .fixed = fixed };

	s.op = IOCB_CMD_PREAD;
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PWRITE;
	s.round = 1;
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PREAD;
	CHECK_EQ(run_stream(&s), PASS);
	return PASS;
}

static int file_overwrite_and_read(void)
{
	return overwrite_and_read(16, false);
}

static int file_overwrite_and_read_fixed(void)
{
	return overwrite_and_read(16, true);
}

/* Many more in flight than a queue of 32 has tags for. */
static int file_overwrite_and_read_deep(void)
{
	return overwrite_and_read(MANY, true);
}

/*
 * The same on a file of an earlier run, so that after a fresh mount nothing of
 * it is in memory: extents have to be read while the queue is full.
 */
static int file_deep_after_mount(void)
{
	struct stream s = { .len = BLOCK, .depth = MANY, .total = NR_BLOCKS,
			    .place = scattered, .fixed = true };
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/kept", directory);
	if (access(path, F_OK)) {
		close(prepared_file("kept"));
		SKIP_IF(true, "run it again after a fresh mount");
	}
	s.fd = open_file("kept", 0);
	s.op = IOCB_CMD_PREAD;
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PWRITE;
	CHECK_EQ(run_stream(&s), PASS);
	return PASS;
}

static int allocate(unsigned int depth, unsigned long (*place)(unsigned long),
		    size_t len)
{
	struct stream s = { .fd = open_file("new", O_CREAT), .len = len,
			    .depth = depth, .total = FILE_LEN / len,
			    .place = place, .round = 3, .fixed = true };
	struct statfs fs;

	CHECK_EQ(fstatfs(s.fd, &fs), 0);
	s.op = IOCB_CMD_PWRITE;
	s.synchronous = fs.f_type == GFS2_MAGIC;
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PREAD;
	s.synchronous = false;
	CHECK_EQ(run_stream(&s), PASS);
	return PASS;
}

static int file_allocate_in_order(void)
{
	return allocate(32, in_order, BLOCK);
}

static int file_allocate_scattered(void)
{
	return allocate(MANY, scattered, BLOCK);
}

static int file_large_requests(void)
{
	return allocate(2, in_order, SPLIT_LEN);
}

/* Smaller than a block of the file system: it may have to wait for others. */
static int file_parts_of_blocks(void)
{
	struct stream s = { .fd = prepared_file("parts"), .len = 512,
			    .depth = 64, .total = 4096, .place = scattered,
			    .op = IOCB_CMD_PWRITE, .round = 7 };
	struct iocb probe;
	struct io_event event;
	aio_context_t ctx = polled_context(1);

	prep_hipri(&probe, IOCB_CMD_PREAD, s.fd, pages(BLOCK), 512, 0);
	CHECK_EQ(submit1(ctx, &probe), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	SKIP_IF(event.res == -EINVAL, "the device has larger sectors");
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PREAD;
	CHECK_EQ(run_stream(&s), PASS);
	return PASS;
}

/* Reads are in flight when the file is extended by a write of the same batch. */
static int file_extend_while_reading(void)
{
	aio_context_t ctx = polled_context(64);
	int i, round, fd = prepared_file("extended");
	struct iocb iocbs[17], *ptrs[17];
	struct io_event events[17];

	for (round = 0; round < 4; round++) {
		double start = now();

		for (i = 0; i < 17; i++) {
			prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK),
				   BLOCK, i * (off_t)BLOCK);
			ptrs[i] = &iocbs[i];
		}
		/* Leave a hole, so that blocks have to be zeroed. */
		iocbs[16].aio_lio_opcode = IOCB_CMD_PWRITE;
		iocbs[16].aio_offset = (off_t)(FILE_LEN +
					       (unsigned long)(2 * round + 1) *
					       BLOCK);
		CHECK_EQ(sys_io_submit(ctx, 17, ptrs), 17);
		CHECK_EQ(reap(ctx, 17, events), PASS);
		CHECK(now() - start < STALL, "it took %.3f s", now() - start);
		for (i = 0; i < 17; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
	}
	return PASS;
}

/* System calls that wait for direct I/O, made by who would have to poll. */
static int file_truncate_with_io_in_flight(void)
{
	aio_context_t ctx = polled_context(64);
	int i, op, fd = prepared_file("truncated");
	struct iocb iocbs[16], *ptrs[16];
	struct io_event events[16];
	struct stat st;

	for (op = IOCB_CMD_PREAD; op <= IOCB_CMD_PWRITE; op++) {
		double start;

		for (i = 0; i < 16; i++) {
			prep_hipri(&iocbs[i], op, fd, pages(BLOCK), BLOCK,
				   i * (off_t)BLOCK);
			ptrs[i] = &iocbs[i];
		}
		CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
		start = now();
		CHECK_EQ(ftruncate(fd, (off_t)FILE_LEN / 2), 0);
		CHECK_EQ(ftruncate(fd, (off_t)FILE_LEN), 0);
		CHECK_EQ(fstat(fd, &st), 0);
		CHECK_EQ(fsync(fd), 0);
		CHECK(now() - start < STALL, "it took %.3f s", now() - start);
		CHECK_EQ(sys_io_getevents(ctx, 16, 16, events, NULL), 16);
		for (i = 0; i < 16; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
	}
	return PASS;
}

static int file_read_around_the_end(void)
{
	aio_context_t ctx = polled_context(4);
	int fd = prepared_file("end");
	struct io_event event;
	struct iocb iocb;

	prep_hipri(&iocb, IOCB_CMD_PREAD, fd, pages(4 * BLOCK), 4 * BLOCK,
		   (off_t)(FILE_LEN - BLOCK));
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	iocb.aio_offset = (off_t)FILE_LEN;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, 0);
	return PASS;
}

/* What mapped page cache holds must not be lost, nor come back. */
static int file_page_cache_is_honoured(void)
{
	aio_context_t ctx = polled_context(4);
	int fd = prepared_file("cached");
	struct io_event event;
	struct iocb iocb;
	char *map, *buf = pages(BLOCK);

	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
	memset(map, 0x11, BLOCK);
	prep_hipri(&iocb, IOCB_CMD_PREAD, fd, buf, BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(buf[100], 0x11);

	memset(buf, 0x22, BLOCK);
	iocb.aio_lio_opcode = IOCB_CMD_PWRITE;
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)BLOCK);
	CHECK_EQ(map[100], 0x22);
	return PASS;
}

static int file_synchronous_writes(void)
{
	struct stream s = { .fd = prepared_file("sync"), .len = BLOCK,
			    .depth = 16, .total = 512, .place = scattered,
			    .op = IOCB_CMD_PWRITE, .round = 9, .fixed = true };

	close(s.fd);
	s.fd = open_file("sync", O_DSYNC);
	CHECK_EQ(run_stream(&s), PASS);
	s.op = IOCB_CMD_PREAD;
	CHECK_EQ(run_stream(&s), PASS);
	return PASS;
}

static int file_exit_with_writes_in_flight(void)
{
	double start = now();
	pid_t child = fork();
	int status;

	if (!child) {
		aio_context_t ctx = polled_context(64);
		int i, fd = prepared_file("left");
		struct iocb iocbs[16], *ptrs[16];

		for (i = 0; i < 16; i++) {
			prep_hipri(&iocbs[i], IOCB_CMD_PWRITE, fd, pages(BLOCK),
				   BLOCK, i * (off_t)BLOCK);
			ptrs[i] = &iocbs[i];
		}
		_exit(sys_io_submit(ctx, 16, ptrs) != 16);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK(now() - start < 10 * slowness(), "it took %.3f s", now() - start);
	/* The inode must not have been left with direct I/O to wait for. */
	CHECK_EQ(ftruncate(open_file("left", 0), 0), 0);
	return PASS;
}

/* One request, and its result. */
static long one_request(int op, int fd, void *buf, size_t len, off_t offset,
			int rw_flags)
{
	aio_context_t ctx = polled_context(1);
	struct io_event event;
	struct iocb iocb;
	long ret;

	prep_hipri(&iocb, op, fd, buf, len, offset);
	iocb.aio_rw_flags = rw_flags;
	ret = submit1(ctx, &iocb);
	if (ret == 1)
		ret = reap(ctx, 1, &event) == PASS ? (long)event.res : -EIO;
	sys_io_destroy(ctx);
	return ret;
}

/* Its pages have to be written back, which a long-term pin would upset. */
static int file_mapped_buffer_efault(void)
{
	struct iocb *iocbs = pages(PAGE);
	int fd = prepared_file("mapped");
	aio_context_t ctx = 0;
	void *map;

	DEVIATION("shared mappings of files were accepted", "-EFAULT");
	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
	prep_hipri(&iocbs[0], IOCB_CMD_PREAD, fd, map, BLOCK, 0);
	CHECK_EQ(sys_io_setup2(1, IOPOLL | USERIOCB | FIXEDBUFS, iocbs, NULL,
			       NULL, &ctx), -EFAULT);
	CHECK_EQ(status_kib("VmPin"), 0);
	return PASS;
}

/* After the first write to it, a private mapping is memory like any other. */
static int file_private_mapping_as_buffer(void)
{
	struct iocb *iocbs = pages(PAGE);
	int fd = prepared_file("private");
	struct io_event event;
	aio_context_t ctx = 0;
	char *map, byte = 0;

	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(map != MAP_FAILED, "mmap: %s", strerror(errno));
	prep_hipri(&iocbs[0], IOCB_CMD_PWRITE, fd, map, BLOCK, (off_t)BLOCK);
	CHECK_EQ(sys_io_setup2(1, IOPOLL | USERIOCB | FIXEDBUFS, iocbs, NULL,
			       NULL, &ctx), 0);
	memset(map, 0x4e, BLOCK);
	CHECK_EQ(submit1(ctx, slot(0)), 1);
	CHECK_PASS(reap(ctx, 1, &event));
	CHECK_EQ(event.res, (long)BLOCK);
	close(fd);
	fd = open_file("private", 0);
	map = mmap(NULL, 2 * BLOCK, PROT_READ, MAP_SHARED, fd, 0);
	byte = map[BLOCK + 5];
	CHECK_EQ(byte, 0x4e);
	CHECK(map[5] != 0x4e, "the file was changed through the mapping");
	return PASS;
}

/* O_DIRECT is asked for when the iocb is submitted, not when it was opened. */
static int file_buffered_eopnotsupp(void)
{
	int fd = prepared_file("buffered");
	void *buf = pages(BLOCK);

	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 0, 0),
		 (long)BLOCK);
	CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 0, 0),
		 -EOPNOTSUPP);
	CHECK_EQ(fcntl(fd, F_SETFL, O_DIRECT), 0);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 0, 0),
		 (long)BLOCK);
	return PASS;
}

static int file_directory_is_refused(void)
{
	int fd = open_path(directory, O_RDONLY);
	long ret = one_request(IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK, 0, 0);

	/* Without O_DIRECT, or without a way to read it */
	CHECK(ret == -EOPNOTSUPP || ret == -EINVAL || ret == -EISDIR, "%ld",
	      ret);
	return PASS;
}

static int file_read_of_a_hole(void)
{
	int fd = open_file("hole", O_CREAT);
	char *buf = pages(4 * BLOCK);
	size_t i;

	CHECK_EQ(ftruncate(fd, (off_t)FILE_LEN), 0);
	memset(buf, 0x13, 4 * BLOCK);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, 4 * BLOCK,
			     8 * (off_t)BLOCK, 0), (long)(4 * BLOCK));
	for (i = 0; i < 4 * BLOCK; i++)
		CHECK(!buf[i], "%#x at %zu", buf[i], i);
	return PASS;
}

/* Allocated, not written: zeros until the first write, then that. */
static int file_preallocated(void)
{
	int fd = open_file("preallocated", O_CREAT);
	char *buf = pages(BLOCK);

	SKIP_IF(fallocate(fd, 0, 0, 1 << 20),
		"the file system does not preallocate");
	memset(buf, 0x13, BLOCK);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 0, 0),
		 (long)BLOCK);
	CHECK_EQ(buf[9], 0);
	memset(buf, 0x13, BLOCK);
	CHECK_EQ(one_request(IOCB_CMD_PWRITE, fd, buf, BLOCK, (off_t)BLOCK, 0),
		 (long)BLOCK);
	memset(buf, 0, BLOCK);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, (off_t)BLOCK, 0),
		 (long)BLOCK);
	CHECK_EQ(buf[9], 0x13);
	CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 2 * (off_t)BLOCK,
			     0), (long)BLOCK);
	CHECK_EQ(buf[9], 0);
	return PASS;
}

/* Wherever the iocb says, it goes to the end. */
static int file_append(void)
{
	int i, fd;
	char *buf = pages(BLOCK);
	struct stat st;

	close(open_file("appended", O_CREAT));
	fd = open_file("appended", O_APPEND);
	for (i = 0; i < 4; i++) {
		memset(buf, 0x60 + i, BLOCK);
		CHECK_EQ(one_request(IOCB_CMD_PWRITE, fd, buf, BLOCK, 0, 0),
			 (long)BLOCK);
	}
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 4 * (long)BLOCK);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(one_request(IOCB_CMD_PREAD, fd, buf, BLOCK,
				     i * (off_t)BLOCK, 0), (long)BLOCK);
		CHECK_EQ(buf[0], 0x60 + i);
	}
	return PASS;
}

/* What would have to wait says so in its event, and nothing was written. */
static int file_nowait(void)
{
	int fd = prepared_file("nowait"), empty = open_file("empty", O_CREAT);
	char *buf = pages(BLOCK);
	struct stat st;
	long ret;

	DEVIATION("-EAGAIN of RWF_NOWAIT came from io_submit()",
		  "it is in the event");
	ret = one_request(IOCB_CMD_PREAD, fd, buf, BLOCK, 0, RWF_NOWAIT);
	SKIP_IF(ret == -EOPNOTSUPP, "the file system does not know RWF_NOWAIT");
	CHECK(ret == (long)BLOCK || ret == -EAGAIN, "%ld", ret);
	ret = one_request(IOCB_CMD_PWRITE, empty, buf, BLOCK, 0, RWF_NOWAIT);
	CHECK_EQ(ret, -EAGAIN);
	CHECK_EQ(fstat(empty, &st), 0);
	CHECK_EQ(st.st_size, 0);
	return PASS;
}

/* The last name and the last descriptor go, the requests do not. */
static int file_unlink_and_close_with_io_in_flight(void)
{
	int i, op;

	for (op = IOCB_CMD_PREAD; op <= IOCB_CMD_PWRITE; op++) {
		aio_context_t ctx = polled_context(16);
		int fd = prepared_file("unlinked");
		struct iocb iocbs[16], *ptrs[16];
		struct io_event events[16];
		char path[PATH_MAX];

		for (i = 0; i < 16; i++) {
			prep_hipri(&iocbs[i], op, fd, pages(BLOCK), BLOCK,
				   i * (off_t)BLOCK);
			ptrs[i] = &iocbs[i];
		}
		CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
		snprintf(path, sizeof(path), "%s/unlinked", directory);
		CHECK_EQ(unlink(path), 0);
		CHECK_EQ(close(fd), 0);
		CHECK_PASS(reap(ctx, 16, events));
		for (i = 0; i < 16; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	return PASS;
}

/* Nobody but @fd has its file open: else it could not have this lease. */
static bool is_the_only_one(int fd)
{
	double start = now();

	/* Some references are dropped by a worker, soon. */
	while (fcntl(fd, F_SETLEASE, F_WRLCK)) {
		if (errno != EAGAIN || now() - start > 5)
			return false;
		usleep(10000);
	}
	return !fcntl(fd, F_SETLEASE, F_UNLCK);
}

/*
 * References to a file are taken and dropped many at a time: all of them are
 * dropped, whether requests succeed, are refused, or nobody wants their events.
 */
static int file_references_are_given_back(void)
{
	struct iocb iocbs[16], *ptrs[16];
	struct io_event events[16];
	int i, polled, round;

	for (polled = 0; polled < 2; polled++) {
		for (round = 0; round < 3; round++) {
			int fd = prepared_file("lease"), nr = 16;
			aio_context_t ctx = 0;

			CHECK_EQ(sys_io_setup2(16, polled ? IOPOLL : 0, NULL,
					       NULL, NULL, &ctx), 0);
			for (i = 0; i < 16; i++) {
				prep(&iocbs[i], IOCB_CMD_PREAD, fd,
				     pages(BLOCK), BLOCK, i * (off_t)BLOCK);
				iocbs[i].aio_flags = polled ? IOCB_FLAG_HIPRI : 0;
				ptrs[i] = &iocbs[i];
			}
			if (round == 1) {
				nr = 9;
				iocbs[nr].aio_reserved2 = 1;
			}
			CHECK_EQ(sys_io_submit(ctx, 16, ptrs), nr);
			if (round < 2)
				CHECK_PASS(reap(ctx, nr, events));
			CHECK_EQ(sys_io_destroy(ctx), 0);
			CHECK_EQ(close(fd), 0);
			fd = open_file("lease", 0);
			CHECK(is_the_only_one(fd), "round %d, polled %d: %s",
			      round, polled, strerror(errno));
			CHECK_EQ(close(fd), 0);
		}
	}
	return PASS;
}

/* Freezing waits for writes that only their owner could poll for. */
static int file_freeze_with_writes_in_flight(void)
{
	aio_context_t ctx = polled_context(16);
	int i, dir, fd = prepared_file("frozen");
	struct iocb iocbs[16], *ptrs[16];
	struct io_event events[16];
	double took;
	long ret;

	DEVIATION("nothing happened before the owner polled",
		  "a worker polls after 0.1 s");
	for (i = 0; i < 16; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PWRITE, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		ptrs[i] = &iocbs[i];
	}
	dir = open_path(directory, O_RDONLY);
	CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
	took = now();
	ret = ioctl(dir, FIFREEZE, 0);
	took = now() - took;
	if (!ret)
		ret = ioctl(dir, FITHAW, 0);
	CHECK_EQ(ret, 0);
	CHECK(took < 5 * slowness(), "it took %.3f s", took);
	CHECK_PASS(reap(ctx, 16, events));
	for (i = 0; i < 16; i++)
		CHECK_EQ(events[i].res, (long)BLOCK);
	return PASS;
}

/* Reads of two contexts, and writes of one, to one file, in turn. */
static int file_two_contexts(void)
{
	aio_context_t one = polled_context(16), two = polled_context(16);
	struct iocb reads[16], writes[16], *rptrs[16], *wptrs[16];
	int i, round, fd = prepared_file("shared");
	struct io_event events[16];

	for (i = 0; i < 16; i++) {
		prep_hipri(&reads[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		prep_hipri(&writes[i], IOCB_CMD_PWRITE, fd, pages(BLOCK), BLOCK,
			   (i + 64) * (off_t)BLOCK);
		rptrs[i] = &reads[i];
		wptrs[i] = &writes[i];
	}
	for (round = 0; round < 50; round++) {
		double start = now();

		CHECK_EQ(sys_io_submit(one, 16, rptrs), 16);
		CHECK_EQ(sys_io_submit(two, 16, wptrs), 16);
		CHECK_EQ(sys_io_getevents(one, 16, 16, events, NULL), 16);
		for (i = 0; i < 16; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK_EQ(sys_io_getevents(two, 16, 16, events, NULL), 16);
		for (i = 0; i < 16; i++)
			CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK(now() - start < STALL, "it took %.3f s", now() - start);
	}
	return PASS;
}

/* Reads may find the file shorter than it was, but never another's data. */
static int file_truncate_to_nothing_under_reads(void)
{
	aio_context_t ctx = polled_context(16);
	int i, fd = prepared_file("shrunk");
	struct iocb iocbs[16], *ptrs[16];
	struct io_event events[16];
	double start = now();

	for (i = 0; i < 16; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   i * (off_t)BLOCK);
		iocbs[i].aio_data = (unsigned int)i;
		ptrs[i] = &iocbs[i];
	}
	CHECK_EQ(sys_io_submit(ctx, 16, ptrs), 16);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK(now() - start < STALL, "it took %.3f s", now() - start);
	CHECK_PASS(reap(ctx, 16, events));
	for (i = 0; i < 16; i++) {
		unsigned long nr = events[i].data;

		/* They were submitted when the data was there. */
		CHECK_EQ(events[i].res, (long)BLOCK);
		CHECK(has_stamp((void *)(uintptr_t)iocbs[nr].aio_buf, BLOCK, nr,
				0), "wrong data in %lu", nr);
	}
	CHECK_EQ(sys_io_submit(ctx, 1, ptrs), 1);
	CHECK_PASS(reap(ctx, 1, events));
	CHECK_EQ(events[0].res, 0);
	return PASS;
}

const struct test_case file_cases[] = {
	CASE(file_mapped_buffer_efault),
	CASE(file_private_mapping_as_buffer),
	CASE(file_buffered_eopnotsupp),
	CASE(file_directory_is_refused),
	CASE(file_read_of_a_hole),
	CASE(file_preallocated),
	CASE(file_append),
	CASE(file_nowait),
	CASE(file_unlink_and_close_with_io_in_flight),
	CASE(file_references_are_given_back),
	CASE(file_freeze_with_writes_in_flight),
	CASE(file_two_contexts),
	CASE(file_truncate_to_nothing_under_reads),
	CASE(file_overwrite_and_read),
	CASE(file_overwrite_and_read_fixed),
	CASE(file_overwrite_and_read_deep),
	CASE(file_deep_after_mount),
	CASE(file_allocate_in_order),
	CASE(file_allocate_scattered),
	CASE(file_large_requests),
	CASE(file_parts_of_blocks),
	CASE(file_extend_while_reading),
	CASE(file_truncate_with_io_in_flight),
	CASE(file_read_around_the_end),
	CASE(file_page_cache_is_honoured),
	CASE(file_synchronous_writes),
	CASE(file_exit_with_writes_in_flight),
};
TABLE(file_cases);
