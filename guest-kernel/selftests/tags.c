// SPDX-License-Identifier: GPL-2.0-only
/*
 * More requests than the device has tags for. Who submits is who has to reap,
 * so nobody may be made to wait for a tag: -EAGAIN, or a short count.
 */
#include "tests.h"

/* A device with less tags than MANY, or NULL. */
static const char *shallow(void)
{
	unsigned int depth = device_depth(device);

	return depth && depth < MANY ? device : shallow_device;
}

/* Submit reads that cannot be merged; aio_data is 0, 1, ... */
static long submit_scattered(aio_context_t ctx, int fd, unsigned int nr)
{
	static struct iocb iocbs[MANY];
	struct iocb *ptrs[MANY];
	unsigned int i;

	for (i = 0; i < nr; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   (off_t)BLOCK * (off_t)(i * 37 % MANY));
		iocbs[i].aio_data = i;
		ptrs[i] = &iocbs[i];
	}
	return sys_io_submit(ctx, nr, ptrs);
}

/* More in flight than the device has tags for: nobody may have to wait. */
static int out_of_tags_eagain(void)
{
	unsigned int left = 20 * MANY, in_flight = 0;
	aio_context_t ctx = polled_context(MANY);
	static struct iocb iocbs[MANY];
	struct io_event events[MANY];
	bool again = false;
	unsigned int i;
	int fd;

	SKIP_IF(!shallow(), "needs a device with few tags");
	fd = open_path(shallow(), O_RDWR | O_DIRECT);
	for (i = 0; i < MANY; i++)
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   (off_t)BLOCK * (off_t)(i * 37 % MANY));
	while (left || in_flight) {
		unsigned int nr = MANY - in_flight < left ? MANY - in_flight :
							    left;
		struct iocb *ptrs[MANY];
		double start = now();
		long ret;

		for (i = 0; i < nr; i++)
			ptrs[i] = &iocbs[i];
		ret = sys_io_submit(ctx, nr, ptrs);
		CHECK(now() - start < 1, "submit took %.3f s", now() - start);
		CHECK(ret >= 0 || ret == -EAGAIN, "%s", strerror((int)-ret));
		again |= ret != nr;
		if (ret > 0) {
			in_flight += (unsigned int)ret;
			left -= (unsigned int)ret;
		}
		start = now();
		ret = sys_io_getevents(ctx, 1, MANY, events, NULL);
		CHECK(now() - start < 1, "reap took %.3f s", now() - start);
		CHECK(ret > 0, "%ld", ret);
		while (ret--) {
			CHECK_EQ(events[ret].res, (long)BLOCK);
			in_flight--;
		}
	}
	CHECK(again, "the tags were never short");
	return PASS;
}

/* What was not accepted has no event, and what was has one. */
static int out_of_tags_posts_no_event(void)
{
	aio_context_t ctx = polled_context(MANY);
	struct io_event events[MANY];
	unsigned long seen[4] = { 0 };
	unsigned int depth, i;
	long accepted;

	SKIP_IF(!shallow(), "needs a device with few tags");
	depth = device_depth(shallow());
	accepted = submit_scattered(ctx, open_path(shallow(),
						   O_RDWR | O_DIRECT), MANY);
	CHECK(accepted > 0 && accepted <= (long)depth, "%ld accepted of %u",
	      accepted, depth);
	CHECK_PASS(reap(ctx, (unsigned int)accepted, events));
	for (i = 0; i < accepted; i++) {
		CHECK_EQ(events[i].res, (long)BLOCK);
		seen[events[i].data / 64] |= 1UL << events[i].data % 64;
	}
	/* The first ones, each once */
	for (i = 0; i < accepted; i++)
		CHECK(seen[i / 64] >> i % 64 & 1, "no event for %u", i);
	CHECK_EQ(sys_io_getevents(ctx, 0, MANY, events, NULL), 0);
	CHECK_EQ(sys_io_getevents(ctx, 1, MANY, events, NULL), 0);
	return PASS;
}

/* The tags are with another context of the same task. */
static int out_of_tags_by_another_context(void)
{
	aio_context_t one = polled_context(MANY), two = polled_context(MANY);
	struct io_event events[MANY];
	long taken, ret;
	int fd;

	SKIP_IF(!shallow(), "needs a device with few tags");
	fd = open_path(shallow(), O_RDWR | O_DIRECT);
	taken = submit_scattered(one, fd, MANY);
	CHECK(taken > 0 && taken < MANY, "%ld accepted", taken);
	ret = submit_scattered(two, fd, 1);
	CHECK_EQ(ret, -EAGAIN);
	CHECK_PASS(reap(one, (unsigned int)taken, events));
	CHECK_EQ(submit_scattered(two, fd, 4), 4);
	CHECK_PASS(reap(two, 4, events));
	return PASS;
}

/* The first iocb finds no tag: the call says so, and the next one succeeds. */
static int out_of_tags_first_iocb_eagain(void)
{
	aio_context_t ctx = polled_context(MANY);
	struct io_event events[MANY];
	long taken;
	int fd, i;

	SKIP_IF(!shallow(), "needs a device with few tags");
	fd = open_path(shallow(), O_RDWR | O_DIRECT);
	for (i = 0; i < 20; i++) {
		taken = submit_scattered(ctx, fd, MANY);
		CHECK(taken > 0 && taken < MANY, "%ld accepted", taken);
		CHECK_EQ(submit_scattered(ctx, fd, 1), -EAGAIN);
		CHECK_PASS(reap(ctx, (unsigned int)taken, events));
	}
	return PASS;
}

/* Let @name schedule what goes to the shallow device. */
static int schedule(const char *name)
{
	FILE *file = open_attribute(shallow(), "queue/scheduler", "w");

	CHECK(file && fputs(name, file) >= 0, "no %s", name);
	/* Written only now. */
	CHECK(!fclose(file), "no %s: %s", name, strerror(errno));
	return PASS;
}

/* Reads that were merged into a request of the shallow device so far, or -1. */
static long read_merges(void)
{
	FILE *file = open_attribute(shallow(), "stat", "r");
	long merges;

	if (!file || fscanf(file, "%*d %ld", &merges) != 1)
		merges = -1;
	if (file)
		fclose(file);
	return merges;
}

/*
 * All tags are with polled reads, and more of those are with the scheduler. An
 * unpolled one beside the last of these is not merged into it. They may be gone
 * by then, since a worker polls after 0.1 s; that a polled one is merged into the
 * last but one shows that they were not.
 */
static int scheduled_apart(bool *queued)
{
	unsigned int nr = device_depth(shallow()) * 3 / 4, i;
	aio_context_t polled = polled_context(MANY), old = 0;
	static struct iocb iocbs[MANY], unpolled, more;
	struct io_event events[MANY];
	struct iocb *ptrs[MANY];
	const off_t stride = 4 * BLOCK;
	long before, between;
	int fd;

	CHECK_EQ(sys_io_setup(1, &old), 0);
	fd = open_path(shallow(), O_RDWR | O_DIRECT);
	for (i = 0; i < nr; i++) {
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   (off_t)i * stride);
		ptrs[i] = &iocbs[i];
	}
	prep(&unpolled, IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
	     (off_t)(nr - 1) * stride + (off_t)BLOCK);
	prep_hipri(&more, IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
		   (off_t)(nr - 2) * stride + (off_t)BLOCK);

	CHECK_EQ(sys_io_submit(polled, nr, ptrs), nr);
	before = read_merges();
	CHECK_EQ(submit1(old, &unpolled), 1);
	between = read_merges();
	CHECK_EQ(submit1(polled, &more), 1);
	CHECK(before >= 0, "no statistics");
	CHECK_EQ(between, before);
	*queued = read_merges() == before + 1;

	CHECK_PASS(reap(polled, nr + 1, events));
	CHECK_PASS(reap(old, 1, events));
	CHECK_EQ(events[0].res, (long)BLOCK);
	CHECK_EQ(sys_io_destroy(polled), 0);
	CHECK_EQ(sys_io_destroy(old), 0);
	return PASS;
}

/* Who waits for the one kind must not depend on the other kind's waiter. */
static int scheduler_keeps_polled_and_unpolled_apart(void)
{
	bool queued = false;
	int result = PASS, i;

	SKIP_IF(!shallow(), "needs a device with few tags");
	CHECK_PASS(schedule("mq-deadline"));
	for (i = 0; i < 50 && result == PASS && !queued; i++)
		result = scheduled_apart(&queued);
	/* Other cases use the device as well. */
	CHECK_PASS(schedule("none"));
	CHECK_PASS(result);
	CHECK(queued, "nothing was left with the scheduler in %d rounds", i);
	return PASS;
}

const struct test_case tag_cases[] = {
	CASE(out_of_tags_eagain),
	CASE(out_of_tags_posts_no_event),
	CASE(out_of_tags_by_another_context),
	CASE(out_of_tags_first_iocb_eagain),
	CASE(scheduler_keeps_polled_and_unpolled_apart),
};
TABLE(tag_cases);
