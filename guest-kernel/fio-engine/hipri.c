// SPDX-License-Identifier: GPL-2.0-only
/*
 * fio engine for polled AIO: io_setup2(2) with IOCTX_FLAG_IOPOLL,
 * IOCTX_FLAG_USERIOCB and IOCTX_FLAG_FIXEDBUFS.
 *
 * An external engine: ioengine=external:/usr/lib/fio/hipri.so. Its options
 * have the names that fio's libaio engine gave them in 2018:
 *
 *	hipri		poll for completions, no interrupts
 *	useriocb	share the iocbs with the kernel, submit by index
 *	fixedbufs	register the I/O buffers once, implies useriocb
 *
 * With none of them it uses plain io_setup(2) and runs on any kernel. System
 * calls are made directly: libaio answers an io_getevents() that does not want
 * to wait from the completion ring in user memory, which a polled context
 * never fills.
 *
 * Issue times are taken the way fio's libaio engine does, once per io_submit(2),
 * so that submission and completion latencies of both can be compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/types.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * fio.h would pull in libaio's own struct iocb where that library's headers are
 * installed. It is the last member of struct io_u and not used here.
 */
#undef CONFIG_LIBAIO
#include "fio.h"
#include "optgroup.h"

#ifndef __x86_64__
#error "io_setup2 has a number on x86-64 only"
#endif

#define NR_io_setup2		335

#define IOCTX_FLAG_USERIOCB	(1U << 0)
#define IOCTX_FLAG_IOPOLL	(1U << 1)
#define IOCTX_FLAG_FIXEDBUFS	(1U << 2)

#define IOCB_FLAG_HIPRI		(1U << 2)

/* How long to try when the kernel takes no I/O and has none of ours left */
#define STALL_MSEC		30000

struct hipri_options {
	void *pad;	/* fio reserves offset 0 */
	unsigned int hipri;
	unsigned int useriocb;
	unsigned int fixedbufs;
};

struct hipri_data {
	aio_context_t ctx;
	unsigned int flags;		/* IOCTX_FLAG_* of ctx */
	unsigned int depth;

	struct iocb *iocbs;		/* page aligned; slot = io_u->index */
	struct io_u **io_us;		/* by slot */
	struct io_event *events;

	/*
	 * What waits for io_submit(2): addresses of iocbs, or slots with
	 * IOCTX_FLAG_USERIOCB.
	 */
	unsigned long *queue;
	unsigned int queued;
	unsigned int inflight;

	bool stalled;
	struct timespec stalled_since;
	bool explained;
};

static struct fio_option options[] = {
	{
		.name		= "hipri",
		.lname		= "High priority",
		.type		= FIO_OPT_STR_SET,
		.off1		= offsetof(struct hipri_options, hipri),
		.help		= "Poll for completions (IOCTX_FLAG_IOPOLL)",
		.category	= FIO_OPT_C_ENGINE,
		.group		= FIO_OPT_G_INVALID,
	},
	{
		.name		= "useriocb",
		.lname		= "User mapped iocbs",
		.type		= FIO_OPT_STR_SET,
		.off1		= offsetof(struct hipri_options, useriocb),
		.help		= "Share iocbs with the kernel (IOCTX_FLAG_USERIOCB)",
		.category	= FIO_OPT_C_ENGINE,
		.group		= FIO_OPT_G_INVALID,
	},
	{
		.name		= "fixedbufs",
		.lname		= "Fixed (pre-mapped) buffers",
		.type		= FIO_OPT_STR_SET,
		.off1		= offsetof(struct hipri_options, fixedbufs),
		.help		= "Register I/O buffers once (IOCTX_FLAG_FIXEDBUFS)",
		.category	= FIO_OPT_C_ENGINE,
		.group		= FIO_OPT_G_INVALID,
	},
	{
		.name		= NULL,
	},
};

static volatile sig_atomic_t got_sigill;

static void on_sigill(int sig)
{
	got_sigill = 1;
}

/*
 * Kernels of 6.11 and later without io_setup2 use its number for uretprobe,
 * which answers a stray call with SIGILL.
 */
static int io_setup2(unsigned int nr_events, unsigned int flags,
		     struct iocb *iocbs, aio_context_t *ctx)
{
	struct sigaction ignore = { .sa_handler = on_sigill }, old;
	int ret;

	got_sigill = 0;
	sigaction(SIGILL, &ignore, &old);
	ret = syscall(NR_io_setup2, nr_events, flags, iocbs, NULL, NULL, ctx);
	if (ret < 0)
		ret = -errno;
	sigaction(SIGILL, &old, NULL);

	return got_sigill ? -ENOSYS : ret;
}

static int io_setup(unsigned int nr_events, aio_context_t *ctx)
{
	return syscall(__NR_io_setup, nr_events, ctx) < 0 ? -errno : 0;
}

static const char *setup_hint(const struct hipri_data *hd, int err)
{
	switch (err) {
	case ENOSYS:
		return "this kernel has no io_setup2; hipri, useriocb and fixedbufs need the aio-poll series";
	case EAGAIN:
		return "more events than /proc/sys/fs/aio-max-nr leaves";
	case ENOMEM:
		return "no memory, or RLIMIT_MEMLOCK is too low for fixedbufs";
	case EFAULT:
		if (hd->flags & IOCTX_FLAG_FIXEDBUFS)
			return "the buffers cannot be registered; the largest block size is 4m";
		break;
	}
	return strerror(err);
}

/*
 * A mistake that every I/O of the job will share is explained once; fio
 * itself reports the error.
 */
static void explain(struct thread_data *td, int err)
{
	struct hipri_data *hd = td->io_ops_data;

	if (err != EOPNOTSUPP || hd->explained)
		return;
	hd->explained = true;
	if (!td->o.odirect)
		log_err("hipri: polled I/O needs direct=1\n");
	else
		log_err("hipri: this file or its device cannot poll; see io_poll in /sys/block/*/queue\n");
}

static int fio_hipri_prep(struct thread_data *td, struct io_u *io_u)
{
	struct hipri_data *hd = td->io_ops_data;
	struct iocb *iocb = &hd->iocbs[io_u->index];

	if (io_u->ddir == DDIR_READ)
		iocb->aio_lio_opcode = IOCB_CMD_PREAD;
	else if (io_u->ddir == DDIR_WRITE)
		iocb->aio_lio_opcode = IOCB_CMD_PWRITE;
	else
		return 0;

	iocb->aio_fildes = io_u->file->fd;
	iocb->aio_buf = (uintptr_t)io_u->xfer_buf;
	iocb->aio_nbytes = io_u->xfer_buflen;
	iocb->aio_offset = io_u->offset;
	return 0;
}

static enum fio_q_status fio_hipri_queue(struct thread_data *td,
					 struct io_u *io_u)
{
	struct hipri_data *hd = td->io_ops_data;

	fio_ro_check(td, io_u);

	/*
	 * Syncs and trims are synchronous system calls. They go after what
	 * was queued before them, as fio's own engines have it.
	 */
	if (!ddir_rw(io_u->ddir) || io_u->ddir == DDIR_TRIM) {
		if (hd->queued)
			return FIO_Q_BUSY;

		if (io_u->ddir == DDIR_TRIM) {
			do_io_u_trim(td, io_u);
			io_u_mark_submit(td, 1);
			io_u_mark_complete(td, 1);
		} else {
			do_io_u_sync(td, io_u);
		}
		return FIO_Q_COMPLETED;
	}

	if (hd->queued == hd->depth)
		return FIO_Q_BUSY;

	if (hd->flags & IOCTX_FLAG_USERIOCB)
		hd->queue[hd->queued] = io_u->index;
	else
		hd->queue[hd->queued] = (uintptr_t)&hd->iocbs[io_u->index];
	hd->queued++;
	return FIO_Q_QUEUED;
}

static inline struct io_u *slot_io_u(struct hipri_data *hd, __u64 obj)
{
	if (hd->flags & IOCTX_FLAG_USERIOCB)
		return hd->io_us[obj];
	return hd->io_us[(struct iocb *)(uintptr_t)obj - hd->iocbs];
}

static void fio_hipri_issued(struct thread_data *td, unsigned int first,
			     unsigned int nr)
{
	struct hipri_data *hd = td->io_ops_data;
	struct timespec now;
	unsigned int i;

	if (!fio_fill_issue_time(td))
		return;

	fio_gettime(&now, NULL);
	for (i = first; i < first + nr; i++) {
		struct io_u *io_u = slot_io_u(hd, hd->queue[i]);

		memcpy(&io_u->issue_time, &now, sizeof(now));
		io_u_queued(td, io_u);
	}

	/* only used for iolog */
	if (td->o.read_iolog_file)
		memcpy(&td->last_issue, &now, sizeof(now));
}

/* True once the kernel has refused I/O for too long with none in flight */
static bool fio_hipri_stalled(struct hipri_data *hd)
{
	if (hd->inflight) {
		hd->stalled = false;
		return false;
	}
	if (!hd->stalled) {
		hd->stalled = true;
		fio_gettime(&hd->stalled_since, NULL);
		return false;
	}
	return mtime_since_now(&hd->stalled_since) > STALL_MSEC;
}

static int fio_hipri_commit(struct thread_data *td)
{
	struct hipri_data *hd = td->io_ops_data;
	unsigned int done = 0;
	int err = 0;

	while (done < hd->queued) {
		long ret = syscall(__NR_io_submit, hd->ctx,
				   (long)(hd->queued - done), hd->queue + done);

		if (ret > 0) {
			fio_hipri_issued(td, done, ret);
			io_u_mark_submit(td, ret);
			hd->inflight += ret;
			hd->stalled = false;
			done += ret;
			continue;
		}
		if (ret && errno == EINTR)
			continue;

		/*
		 * Out of tags or memory: what is in flight must be reaped
		 * first, which is fio's turn. The rest stays queued.
		 */
		err = ret ? errno : EAGAIN;
		if ((err == EAGAIN || err == ENOMEM) && !fio_hipri_stalled(hd))
			err = 0;
		else if (err == EAGAIN)
			log_err("hipri: the kernel has taken no I/O for %d s\n",
				STALL_MSEC / 1000);
		else
			explain(td, err);
		break;
	}

	hd->queued -= done;
	memmove(hd->queue, hd->queue + done, hd->queued * sizeof(*hd->queue));
	return err ? -err : 0;
}

static int fio_hipri_getevents(struct thread_data *td, unsigned int min,
			       unsigned int max, const struct timespec *t)
{
	struct hipri_data *hd = td->io_ops_data;
	unsigned int want = td->o.iodepth_batch_complete_min ? min : 0;
	unsigned int events = 0;

	do {
		long wait = want > events ? want - events : 0;
		long ret = 0;

		/* Waiting for more than there is would be for ever */
		wait = min(wait, (long)hd->inflight);
		if (hd->inflight)
			ret = syscall(__NR_io_getevents, hd->ctx, wait,
				      (long)(max - events), hd->events + events,
				      t);
		if (ret > 0) {
			events += ret;
			hd->inflight -= ret;
			continue;
		}
		if (ret < 0 && errno != EINTR && errno != EAGAIN)
			return events ? events : -errno;
		/* A timeout that ran out */
		if (!ret && t && hd->inflight && wait)
			break;

		if (hd->queued) {
			int err = fio_hipri_commit(td);

			if (err)
				return events ? events : err;
			if (!hd->inflight)
				usleep(10);
		} else if (!hd->inflight) {
			break;
		}
	} while (events < min);

	return events;
}

static struct io_u *fio_hipri_event(struct thread_data *td, int event)
{
	struct hipri_data *hd = td->io_ops_data;
	const struct io_event *ev = &hd->events[event];
	struct io_u *io_u = slot_io_u(hd, ev->obj);

	if (ev->res < 0) {
		io_u->error = -ev->res;
		explain(td, io_u->error);
	} else {
		io_u->error = 0;
		io_u->resid = io_u->xfer_buflen - ev->res;
	}
	return io_u;
}

static void fio_hipri_cleanup(struct thread_data *td)
{
	struct hipri_data *hd = td->io_ops_data;

	if (!hd)
		return;

	/* A job of its own process leaves this to exit, which need not wait */
	if (hd->ctx && !(td->flags & TD_F_CHILD))
		syscall(__NR_io_destroy, hd->ctx);
	free(hd->iocbs);
	free(hd->io_us);
	free(hd->events);
	free(hd->queue);
	free(hd);
	td->io_ops_data = NULL;
}

static int fio_hipri_init(struct thread_data *td)
{
	struct hipri_options *o = td->eo;
	size_t page = sysconf(_SC_PAGESIZE);
	struct hipri_data *hd;
	size_t size;

	hd = calloc(1, sizeof(*hd));
	if (!hd)
		return 1;
	td->io_ops_data = hd;

	hd->depth = td->o.iodepth;
	if (o->hipri)
		hd->flags |= IOCTX_FLAG_IOPOLL;
	if (o->useriocb || o->fixedbufs)
		hd->flags |= IOCTX_FLAG_USERIOCB;
	/* A job that only trims has no buffers, and no I/O for them */
	if (o->fixedbufs && (td_read(td) || td_write(td)))
		hd->flags |= IOCTX_FLAG_FIXEDBUFS;

	hd->io_us = calloc(hd->depth, sizeof(*hd->io_us));
	hd->events = calloc(hd->depth, sizeof(*hd->events));
	hd->queue = calloc(hd->depth, sizeof(*hd->queue));
	/* Whole pages of its own: a polled context pins them */
	size = (hd->depth * sizeof(*hd->iocbs) + page - 1) & ~(page - 1);
	if (!hd->io_us || !hd->events || !hd->queue ||
	    posix_memalign((void **)&hd->iocbs, page, size)) {
		td_verror(td, ENOMEM, "fio_hipri_init");
		return 1;
	}
	memset(hd->iocbs, 0, size);
	return 0;
}

/*
 * fio leaves O_DIRECT out for jobs that trim, as if they did nothing else.
 */
static int fio_hipri_open_file(struct thread_data *td, struct fio_file *f)
{
	int ret = generic_open_file(td, f);

	if (!ret && td->o.odirect && td_trim(td)) {
		int flags = fcntl(f->fd, F_GETFL);

		/* Whether that was possible, the first I/O tells */
		if (flags >= 0)
			fcntl(f->fd, F_SETFL, flags | O_DIRECT);
	}
	return ret;
}

static int fio_hipri_io_u_init(struct thread_data *td, struct io_u *io_u)
{
	struct hipri_data *hd = td->io_ops_data;

	hd->io_us[io_u->index] = io_u;
	return 0;
}

/* Every slot must name its buffer and its largest size when they are registered */
static void fill_fixed_bufs(struct thread_data *td)
{
	struct hipri_data *hd = td->io_ops_data;
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned int i;

	/* Not being allowed to is fine as long as the limit suffices */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);

	for (i = 0; i < hd->depth; i++) {
		hd->iocbs[i].aio_buf = (uintptr_t)hd->io_us[i]->buf;
		hd->iocbs[i].aio_nbytes = td_max_bs(td);
	}
}

static int fio_hipri_post_init(struct thread_data *td)
{
	struct hipri_data *hd = td->io_ops_data;
	unsigned int i;
	int ret;

	if (hd->flags & IOCTX_FLAG_IOPOLL)
		for (i = 0; i < hd->depth; i++)
			hd->iocbs[i].aio_flags = IOCB_FLAG_HIPRI;
	if (hd->flags & IOCTX_FLAG_FIXEDBUFS)
		fill_fixed_bufs(td);

	if (!hd->flags)
		ret = io_setup(hd->depth, &hd->ctx);
	else
		ret = io_setup2(hd->depth, hd->flags,
				hd->flags & IOCTX_FLAG_USERIOCB ?
					hd->iocbs : NULL,
				&hd->ctx);
	if (ret < 0) {
		log_err("hipri: %s\n", setup_hint(hd, -ret));
		td_verror(td, -ret, hd->flags ? "io_setup2" : "io_setup");
		return 1;
	}
	return 0;
}

/* Not static: fio looks it up by name */
struct ioengine_ops ioengine = {
	.name			= "hipri",
	.version		= FIO_IOOPS_VERSION,
	.flags			= FIO_ASYNCIO_SYNC_TRIM |
				  FIO_ASYNCIO_SETS_ISSUE_TIME,
	.init			= fio_hipri_init,
	.post_init		= fio_hipri_post_init,
	.io_u_init		= fio_hipri_io_u_init,
	.prep			= fio_hipri_prep,
	.queue			= fio_hipri_queue,
	.commit			= fio_hipri_commit,
	.getevents		= fio_hipri_getevents,
	.event			= fio_hipri_event,
	.cleanup		= fio_hipri_cleanup,
	.open_file		= fio_hipri_open_file,
	.close_file		= generic_close_file,
	.get_file_size		= generic_get_file_size,
	.options		= options,
	.option_struct_size	= sizeof(struct hipri_options),
};
