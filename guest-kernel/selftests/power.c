// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a device must hold after its power was cut: everything that was flushed,
 * nothing that was never written, and each sector whole.
 *
 * usage: power_check [-s SEED] DEVICE CONTROLLER CUTS
 *
 * The device is expected to cut its own power now and then (a fault rule does
 * that) and to answer nothing from then on until it is reset. Writes go through
 * a polled context, flushes are fdatasync(). Each sector carries its number, a
 * sequence number of its write and a checksum of both, so that a sector tells by
 * itself which write it is from.
 *
 * A write that was acknowledged may be lost until a flush that was issued after
 * that has returned. What was acknowledged after the reset is as good as any
 * other write; but a flush that was under way during the cut proves nothing, since
 * the driver sends it again to a device that has forgotten.
 *
 * In one round of four, one write in eight has RWF_DSYNC: it is durable once it is
 * acknowledged. Not in all, as a device may flush everything for one of them.
 */
#include <linux/fs.h>
#include <linux/nvme_ioctl.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "aio_sys.h"

#define SECTOR		512U
#define AREA_SECTORS	16384U		/* 8 MiB */
#define DEPTH		32U
#define MAX_SECTORS	32U		/* of a write: 16 KiB */
#define MAGIC		0x6869707269707763ULL
#define STALL		0.15		/* seconds without a completion */
#define COUNTERS_PAGE	0xc0
#define POWER_CUTS_AT	88

struct stamp {
	uint64_t magic, sector, sequence, check;
};

/* What is known of a sector. */
static struct sector {
	uint64_t durable;	/* at least this write is there */
	uint64_t acked;		/* the last one that was acknowledged */
	uint64_t newest;	/* no later one was ever issued */
	unsigned int busy;	/* a write to it is under way */
} sectors[AREA_SECTORS];

static struct write {
	struct iocb iocb;
	uint32_t first, count;
	uint64_t sequence;
	bool busy, forced;
	unsigned char *buffer;
} writes[DEPTH];

static uint64_t random_state, sequence, lost;
static bool forcing;
static int fd;
static aio_context_t ctx;
static const char *controller;

static uint64_t next_random(void)
{
	/* Knuth's linear congruential generator for MMIX. */
	random_state = random_state * 6364136223846793005ULL +
		       1442695040888963407ULL;
	return random_state >> 33;
}

static uint64_t checksum(uint64_t sector, uint64_t seq)
{
	uint64_t x = MAGIC ^ (sector * 0x9e3779b97f4a7c15ULL) ^ (seq << 20);

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 32);
}

static void die(const char *what, long error)
{
	printf("# %s: %s\n", what, strerror((int)-error));
	exit(1);
}

static uint64_t power_cuts(void)
{
	static unsigned char page[512];
	struct nvme_admin_cmd cmd = {
		.opcode = 2,
		.nsid = 0xffffffff,
		.addr = (uintptr_t)page,
		.data_len = sizeof(page),
		.cdw10 = (sizeof(page) / 4 - 1) << 16 | COUNTERS_PAGE,
	};
	char path[64];
	uint64_t cuts;
	int ctl;

	snprintf(path, sizeof(path), "/dev/%s", controller);
	ctl = open(path, O_RDWR);
	if (ctl < 0 || ioctl(ctl, NVME_IOCTL_ADMIN_CMD, &cmd)) {
		printf("# cannot read the counters of %s\n", path);
		exit(1);
	}
	close(ctl);
	memcpy(&cuts, page + POWER_CUTS_AT, sizeof(cuts));
	return cuts;
}

/* It may be reset already, or cut its power again meanwhile: the caller tries anew. */
static void reset_controller(void)
{
	char path[96];
	int file;

	snprintf(path, sizeof(path), "/sys/class/nvme/%s/reset_controller",
		 controller);
	file = open(path, O_WRONLY);
	if (file < 0)
		die(path, -errno);
	if (write(file, "1", 1) != 1 && errno != ENETRESET && errno != EBUSY)
		die("cannot reset the controller", -errno);
	close(file);
}

/* Begin a write somewhere where none is under way. */
static void begin(struct write *w)
{
	struct iocb *iocb = &w->iocb;
	uint32_t i;
	long ret;

	do {
		w->count = 1 + next_random() % MAX_SECTORS;
		w->first = next_random() % (AREA_SECTORS - w->count + 1);
		for (i = 0; i < w->count && !sectors[w->first + i].busy; i++)
			;
	} while (i < w->count);

	w->sequence = ++sequence;
	for (i = 0; i < w->count; i++) {
		struct stamp stamp = { MAGIC, w->first + i, w->sequence,
				       checksum(w->first + i, w->sequence) };
		unsigned char *at = w->buffer + i * SECTOR;

		memset(at, (int)(w->sequence & 0xff), SECTOR);
		memcpy(at, &stamp, sizeof(stamp));
		/* At both ends: half a sector is none. */
		memcpy(at + SECTOR - sizeof(stamp), &stamp, sizeof(stamp));
		sectors[w->first + i].busy = 1;
		sectors[w->first + i].newest = w->sequence;
	}
	prep_hipri(iocb, IOCB_CMD_PWRITE, fd, w->buffer, w->count * SECTOR,
		   (off_t)w->first * SECTOR);
	iocb->aio_data = (uintptr_t)w;
	/* Which the device does with Force Unit Access, if it knows that. */
	w->forced = forcing && next_random() % 8 == 0;
	if (w->forced)
		iocb->aio_rw_flags = RWF_DSYNC;
	do
		ret = submit1(ctx, iocb);
	while (ret == -EAGAIN);
	if (ret != 1)
		die("io_submit", ret);
	w->busy = true;
}

/* Take what has completed. Returns how many writes are under way. */
static unsigned int reap(unsigned int *taken)
{
	struct io_event events[DEPTH];
	struct timespec once = { 0 };
	unsigned int busy = 0;
	long ret, i;

	ret = sys_io_getevents(ctx, 0, DEPTH, events, &once);
	if (ret < 0)
		die("io_getevents", ret);
	*taken = (unsigned int)ret;
	for (i = 0; i < ret; i++) {
		struct write *w = (struct write *)(uintptr_t)events[i].data;

		if (events[i].res != (int64_t)(w->count * SECTOR))
			die("a write", events[i].res < 0 ? events[i].res : -EIO);
		for (uint32_t s = w->first; s < w->first + w->count; s++) {
			sectors[s].busy = 0;
			sectors[s].acked = w->sequence;
			if (w->forced)
				sectors[s].durable = w->sequence;
		}
		w->busy = false;
	}
	for (i = 0; i < DEPTH; i++)
		busy += writes[i].busy;
	return busy;
}

/* A flush on a thread of its own: during a cut it does not return. */
static struct flush {
	pthread_t thread;
	bool busy;
	int done;		/* set by the thread */
	uint64_t acked[AREA_SECTORS];
} flush;

static void *flush_thread(void *unused)
{
	(void)unused;
	if (fdatasync(fd))
		die("fdatasync", -errno);
	__atomic_store_n(&flush.done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void flush_begin(void)
{
	for (unsigned int i = 0; i < AREA_SECTORS; i++)
		flush.acked[i] = sectors[i].acked;
	flush.done = 0;
	flush.busy = true;
	if (pthread_create(&flush.thread, NULL, flush_thread, NULL))
		die("pthread_create", -EAGAIN);
}

static void flush_end(bool proves)
{
	pthread_join(flush.thread, NULL);
	flush.busy = false;
	for (unsigned int i = 0; proves && i < AREA_SECTORS; i++)
		if (sectors[i].durable < flush.acked[i])
			sectors[i].durable = flush.acked[i];
}

/*
 * Nothing completes any more: reset the device until everything under way has
 * been sent again and has completed.
 */
static void recover(void)
{
	unsigned int taken, left = 1;
	double since = 0;

	while (left || (flush.busy && !__atomic_load_n(&flush.done,
							__ATOMIC_ACQUIRE))) {
		if (now() - since > 0.5) {
			reset_controller();
			since = now();
		}
		left = reap(&taken);
		if (taken)
			since = now();
		else
			usleep(1000);
	}
	if (flush.busy)
		flush_end(false);
}

/* Read everything back; what a sector holds is the truth from here on. */
static int verify(uint64_t round)
{
	static unsigned char *area;
	int bad = 0;

	if (!area)
		area = pages((size_t)AREA_SECTORS * SECTOR);
	for (size_t at = 0; at < (size_t)AREA_SECTORS * SECTOR;) {
		ssize_t got = pread(fd, area + at, 1 << 20, (off_t)at);

		if (got <= 0)
			die("reading back", got < 0 ? -errno : -EIO);
		at += (size_t)got;
	}
	for (uint32_t s = 0; s < AREA_SECTORS; s++) {
		struct stamp head, foot;
		uint64_t seq = 0;

		memcpy(&head, area + s * SECTOR, sizeof(head));
		memcpy(&foot, area + (s + 1) * SECTOR - sizeof(foot),
		       sizeof(foot));
		if (memcmp(&head, &foot, sizeof(head))) {
			printf("# round %llu: sector %u is torn in itself\n",
			       (unsigned long long)round, s);
			bad++;
		} else if (head.magic == MAGIC) {
			seq = head.sequence;
			if (head.sector != s ||
			    head.check != checksum(s, seq)) {
				printf("# round %llu: sector %u holds what was never written there\n",
				       (unsigned long long)round, s);
				bad++;
			}
		} else if (head.magic) {
			printf("# round %llu: sector %u holds garbage\n",
			       (unsigned long long)round, s);
			bad++;
		}
		if (seq < sectors[s].durable || seq > sectors[s].newest) {
			printf("# round %llu: sector %u holds write %llu, not one of %llu to %llu\n",
			       (unsigned long long)round, s,
			       (unsigned long long)seq,
			       (unsigned long long)sectors[s].durable,
			       (unsigned long long)sectors[s].newest);
			bad++;
		}
		if (seq < sectors[s].acked)
			lost++;
		sectors[s].acked = seq;
		sectors[s].newest = seq;
		if (bad > 20)
			break;
	}
	return bad;
}

/* Write and flush until the device answers no more, then look. */
static int round_until_cut(uint64_t round)
{
	double last = now();

	forcing = round % 4 == 3;
	for (;;) {
		unsigned int taken, busy = 0;

		for (unsigned int i = 0; i < DEPTH; i++) {
			if (!writes[i].busy)
				begin(&writes[i]);
		}
		if (!flush.busy && next_random() % 40 == 0)
			flush_begin();
		busy = reap(&taken);
		if (flush.busy && __atomic_load_n(&flush.done, __ATOMIC_ACQUIRE)) {
			flush_end(true);
			taken++;
		}
		if (taken)
			last = now();
		else if (busy && now() - last > STALL)
			break;
	}
	recover();
	return verify(round);
}

int main(int argc, char **argv)
{
	uint64_t cuts, wanted, before, rounds = 0;
	int bad = 0, opt;

	while ((opt = getopt(argc, argv, "s:")) != -1) {
		if (opt != 's')
			return 2;
		random_state = strtoull(optarg, NULL, 0);
	}
	if (argc - optind != 3) {
		fprintf(stderr, "usage: %s [-s SEED] DEVICE CONTROLLER CUTS\n",
			argv[0]);
		return 2;
	}
	fd = open(argv[optind], O_RDWR | O_DIRECT);
	if (fd < 0)
		die(argv[optind], -errno);
	controller = argv[optind + 1];
	wanted = strtoull(argv[optind + 2], NULL, 0);
	if (sys_io_setup2(DEPTH, IOPOLL, NULL, NULL, NULL, &ctx))
		die("io_setup2", -errno);
	for (unsigned int i = 0; i < DEPTH; i++)
		writes[i].buffer = pages(MAX_SECTORS * SECTOR);

	before = power_cuts();
	do {
		bad += round_until_cut(++rounds);
		cuts = power_cuts() - before;
	} while (cuts < wanted && !bad);

	printf("%llu power cuts in %llu rounds, %llu writes; of the sectors looked at %llu had lost a write\n",
	       (unsigned long long)cuts, (unsigned long long)rounds,
	       (unsigned long long)sequence, (unsigned long long)lost);
	if (!lost && wanted >= 10) {
		printf("# nothing was ever lost: this device has no volatile cache, or the rule no effect\n");
		return 1;
	}
	return bad ? 1 : 0;
}
