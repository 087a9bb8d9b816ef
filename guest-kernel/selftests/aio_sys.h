/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The system calls as the kernel has them, errors as negative numbers, and the
 * numbers of the interface under test. Nothing of it is taken from installed
 * headers, which are those of another kernel.
 */
#ifndef HIPRI_AIO_SYS_H
#define HIPRI_AIO_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NR_IO_SETUP2		335

#ifndef IOCTX_FLAG_USERIOCB
#define IOCTX_FLAG_USERIOCB	(1 << 0)
#define IOCTX_FLAG_IOPOLL	(1 << 1)
#define IOCTX_FLAG_FIXEDBUFS	(1 << 2)
#endif
#ifndef IOCB_FLAG_HIPRI
#define IOCB_FLAG_HIPRI		(1 << 2)
#endif

#define USERIOCB	IOCTX_FLAG_USERIOCB
#define IOPOLL		IOCTX_FLAG_IOPOLL
#define FIXEDBUFS	IOCTX_FLAG_FIXEDBUFS

#define PAGE		4096UL

static inline long ret_errno(long ret)
{
	return ret < 0 ? -errno : ret;
}

static inline long sys_io_setup2(unsigned int nr, unsigned int flags,
				 void *iocbs, void *user1, void *user2,
				 aio_context_t *ctx)
{
	return ret_errno(syscall(NR_IO_SETUP2, nr, flags, iocbs, user1, user2,
				 ctx));
}

static inline long sys_io_setup(unsigned int nr, aio_context_t *ctx)
{
	return ret_errno(syscall(SYS_io_setup, nr, ctx));
}

static inline long sys_io_destroy(aio_context_t ctx)
{
	return ret_errno(syscall(SYS_io_destroy, ctx));
}

static inline long sys_io_submit(aio_context_t ctx, long nr,
				 struct iocb **iocbs)
{
	return ret_errno(syscall(SYS_io_submit, ctx, nr, iocbs));
}

static inline long sys_io_cancel(aio_context_t ctx, void *iocb,
				 struct io_event *result)
{
	return ret_errno(syscall(SYS_io_cancel, ctx, iocb, result));
}

static inline long sys_io_getevents(aio_context_t ctx, long min_nr, long nr,
				    void *events, struct timespec *timeout)
{
	return ret_errno(syscall(SYS_io_getevents, ctx, min_nr, nr, events,
				 timeout));
}

static inline double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static inline struct timespec seconds(double s)
{
	struct timespec ts = { .tv_sec = (time_t)s };

	ts.tv_nsec = (long)((s - (double)ts.tv_sec) * 1e9);
	return ts;
}

/* Zeroed memory that starts at a page, and is followed by a hole. */
static inline void *pages(size_t len)
{
	size_t size = (len + PAGE - 1) / PAGE * PAGE;
	char *mem = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (mem == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	/* Still mapped, so that nothing else moves in. */
	mprotect(mem + size, PAGE, PROT_NONE);
	return mem;
}

static inline void prep(struct iocb *iocb, int op, int fd, void *buf,
			size_t len, off_t offset)
{
	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_lio_opcode = op;
	iocb->aio_fildes = fd;
	iocb->aio_buf = (uintptr_t)buf;
	iocb->aio_nbytes = len;
	iocb->aio_offset = offset;
}

static inline void prep_hipri(struct iocb *iocb, int op, int fd, void *buf,
			      size_t len, off_t offset)
{
	prep(iocb, op, fd, buf, len, offset);
	iocb->aio_flags = IOCB_FLAG_HIPRI;
}

/* What io_submit() takes for slot @i of a mapped array. */
static inline struct iocb *slot(unsigned long i)
{
	return (struct iocb *)i;
}

/* Submit one iocb, or slot. */
static inline long submit1(aio_context_t ctx, struct iocb *iocb)
{
	return sys_io_submit(ctx, 1, &iocb);
}

#endif
