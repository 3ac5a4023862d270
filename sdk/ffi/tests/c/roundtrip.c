/*
 * Publishes a broadcast through a relay and watches it, by the C interface alone.
 *
 *   roundtrip broadcast PUBLISH_URL PLAYBACK_URL ID FILE
 *   roundtrip refused   PLAYBACK_URL ID
 *   roundtrip tracks    RELAY_URL
 *
 * Exit code 0 and a line for each thing that was seen; or 1 and what was not.
 */
#define _POSIX_C_SOURCE 200809L
#include "clutch_moqt.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct seen {
    int state;
    pthread_t thread;
    int threads;
    int inits, fragments, keys, wrong;
    uint64_t last_us;
    uint8_t last_priority;
    size_t bytes;
};

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* All callbacks of a client come from one thread. Called with the lock held. */
static void note_thread(struct seen *seen) {
    pthread_t self = pthread_self();
    if (seen->threads == 0 || !pthread_equal(seen->thread, self)) {
        seen->threads++;
        seen->thread = self;
    }
}

static void on_state(void *user, int32_t state) {
    struct seen *seen = user;
    pthread_mutex_lock(&lock);
    seen->state = state;
    note_thread(seen);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_object(void *user, uint64_t timestamp_us, uint8_t priority, const uint8_t *data, size_t len) {
    struct seen *seen = user;
    pthread_mutex_lock(&lock);
    note_thread(seen);
    int is_init = len >= 8 && memcmp(data + 4, "ftyp", 4) == 0;
    if (is_init != (priority == 0)) seen->wrong++;
    if (seen->inits == 0 && !is_init) seen->wrong++;
    is_init ? seen->inits++ : seen->fragments++;
    if (timestamp_us < seen->last_us) seen->wrong++;
    seen->last_us = timestamp_us;
    seen->bytes += len;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_plain(void *user, uint64_t timestamp_us, uint8_t priority, const uint8_t *data, size_t len) {
    struct seen *seen = user;
    pthread_mutex_lock(&lock);
    note_thread(seen);
    if (len != 5 || memcmp(data, "frame", 5) != 0) seen->wrong++;
    seen->last_us = timestamp_us;
    seen->last_priority = priority;
    seen->fragments++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_audio(void *user, uint64_t timestamp_us, const uint8_t *data, size_t len) {
    on_plain(user, timestamp_us, 0, data, len);
}

static void on_video(void *user, uint64_t timestamp_us, int32_t is_keyframe, const uint8_t *data, size_t len) {
    struct seen *seen = user;
    on_plain(user, timestamp_us, 0, data, len);
    pthread_mutex_lock(&lock);
    seen->keys += is_keyframe;
    pthread_mutex_unlock(&lock);
}

static void nap_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Waits up to 15 s for *value to be at least `least`. */
static void await(const int *value, int least, const char *what) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 15;
    pthread_mutex_lock(&lock);
    while (*value < least)
        if (pthread_cond_timedwait(&changed, &lock, &until) != 0) fail("waited in vain for %s: %d of %d", what, *value, least);
    pthread_mutex_unlock(&lock);
}

static void await_state(struct seen *seen, int state, const char *what) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 15;
    pthread_mutex_lock(&lock);
    while (seen->state != state)
        if (pthread_cond_timedwait(&changed, &lock, &until) != 0) fail("waited in vain for %s: state %d", what, seen->state);
    pthread_mutex_unlock(&lock);
}

static void await_count(size_t (*count)(void *), void *pub) {
    for (int i = 0; i < 1500; i++, nap_ms(10))
        if (count(pub) > 0) return;
    fail("waited in vain for a subscriber");
}

static size_t frame_count(void *pub) { return clutch_moqt_frame_pub_subscriber_count(pub); }
static size_t audio_count(void *pub) { return clutch_moqt_pub_subscriber_count(pub); }
static size_t video_count(void *pub) { return clutch_moqt_video_pub_subscriber_count(pub); }

static uint8_t *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot read %s", path);
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    uint8_t *data = malloc(*len);
    if (!data || fread(data, 1, *len, file) != *len) fail("cannot read %s", path);
    fclose(file);
    return data;
}

static void broadcast(char **arguments) {
    struct seen up = {.state = -1}, down = {.state = -1};
    char ns[256];
    clutch_moqt_client_t *publisher = clutch_moqt_connect(arguments[0], "", on_state, &up);
    clutch_moqt_client_t *viewer = clutch_moqt_connect(arguments[1], NULL, on_state, &down);
    if (!publisher || !viewer) fail("cannot connect");
    snprintf(ns, sizeof ns, "publish/%s", arguments[2]);
    clutch_moqt_frame_pub_t *pub =
        clutch_moqt_publish_frame(publisher, ns, "broadcast", "media.broadcast", "avc1.42E01F,mp4a.40.2", 0);
    snprintf(ns, sizeof ns, "playback/%s", arguments[2]);
    clutch_moqt_frame_sub_t *sub = clutch_moqt_subscribe_frame(viewer, ns, "broadcast", on_object, &down);
    if (!pub || !sub) fail("no publication or no subscription");
    await_state(&up, CLUTCH_MOQT_CONNECTED, "the publisher");
    await_state(&down, CLUTCH_MOQT_CONNECTED, "the viewer");
    await_count(frame_count, pub);
    puts("connected, subscribed");

    /* One box for each write, as SDKs do. */
    size_t len, fragments = 0;
    uint8_t *file = read_file(arguments[3], &len);
    for (size_t at = 0, writes = 0; at + 8 <= len; writes++) {
        size_t size = (size_t)file[at] << 24 | (size_t)file[at + 1] << 16 | (size_t)file[at + 2] << 8 | file[at + 3];
        if (size < 8 || at + size > len) fail("the file is damaged");
        clutch_moqt_frame_write(pub, 1000 * writes, file + at, size, writes != 0);
        if (memcmp(file + at + 4, "mdat", 4) == 0) {
            fragments++;
            nap_ms(5);
        }
        at += size;
    }
    await(&down.fragments, (int)fragments, "fragments");
    printf("%zu fragments, %d init segment\n", fragments, down.inits);
    if (down.inits != 1 || down.wrong != 0) fail("%d init segments, %d wrong objects", down.inits, down.wrong);

    clutch_moqt_client_close(publisher);
    await_state(&up, CLUTCH_MOQT_CLOSED, "the publisher's end");
    await_state(&down, CLUTCH_MOQT_CLOSED, "the end of the stream");
    clutch_moqt_frame_write(pub, 0, file, len, 0);
    clutch_moqt_frame_pub_close(pub);
    clutch_moqt_frame_sub_close(sub);
    clutch_moqt_client_close(viewer);
    if (up.threads != 1 || down.threads != 1) fail("callbacks from %d and %d threads", up.threads, down.threads);
    puts("closed");
    free(file);
}

static void refused(char **arguments) {
    struct seen seen = {.state = -1};
    char ns[256];
    clutch_moqt_client_t *viewer = clutch_moqt_connect(arguments[0], NULL, on_state, &seen);
    snprintf(ns, sizeof ns, "playback/%s", arguments[1]);
    clutch_moqt_frame_sub_t *sub = clutch_moqt_subscribe_frame(viewer, ns, "broadcast", on_object, &seen);
    await_state(&seen, CLUTCH_MOQT_FAILED, "the refusal");
    clutch_moqt_frame_sub_close(sub);
    clutch_moqt_client_close(viewer);
    puts("failed, as it should");
}

static void tracks(char **arguments) {
    struct seen up = {.state = -1}, frames = {.state = -1}, audio = {.state = -1}, video = {.state = -1};
    const uint8_t *data = (const uint8_t *)"frame";
    clutch_moqt_client_t *one = clutch_moqt_connect(arguments[0], NULL, on_state, &up);
    clutch_moqt_client_t *other = clutch_moqt_connect(arguments[0], NULL, NULL, NULL);
    clutch_moqt_frame_pub_t *telemetry = clutch_moqt_publish_frame(one, "room/a", "telemetry", "robot", "json", 128);
    clutch_moqt_pub_t *mic = clutch_moqt_publish_audio(one, "room/a", "mic", "asr", 48000, 1, 20);
    clutch_moqt_video_pub_t *cam = clutch_moqt_publish_video(one, "room/a", "cam", "", 0, 640, 480, 30);
    clutch_moqt_frame_sub_t *sub_frames = clutch_moqt_subscribe_frame_filtered(other, "room/a", "telemetry", on_plain, &frames, CLUTCH_MOQT_NEXT_GROUP_START);
    clutch_moqt_sub_t *sub_audio = clutch_moqt_subscribe_audio(other, "room/a", "mic", on_audio, &audio);
    clutch_moqt_video_sub_t *sub_video = clutch_moqt_subscribe_video(other, "room/a", "cam", on_video, &video);
    if (!telemetry || !mic || !cam || !sub_frames || !sub_audio || !sub_video) fail("a handle is missing");
    await_count(frame_count, telemetry);
    await_count(audio_count, mic);
    await_count(video_count, cam);
    for (int i = 0; i < 100; i++) {
        clutch_moqt_frame_write(telemetry, 1000 * i, data, 5, (uint8_t)i);
        clutch_moqt_pub_write(mic, 20000 * i, data, 5);
        clutch_moqt_video_write(cam, 33333 * i, i % 10 == 0, data, 5);
        nap_ms(2);
    }
    await(&frames.fragments, 100, "frames");
    await(&audio.fragments, 100, "sound");
    await(&video.fragments, 100, "pictures");
    if (frames.last_us != 99000 || frames.last_priority != 99) fail("the last frame has %u", frames.last_priority);
    if (video.keys != 10) fail("%d key frames", video.keys);
    if (frames.wrong + audio.wrong + video.wrong) fail("wrong bytes");
    /* Kinds do not stand for each other. */
    clutch_moqt_pub_close((clutch_moqt_pub_t *)telemetry);
    if (clutch_moqt_frame_pub_subscriber_count(telemetry) != 1) fail("closed by another kind's function");
    clutch_moqt_frame_sub_close(sub_frames);
    clutch_moqt_sub_close(sub_audio);
    clutch_moqt_video_sub_close(sub_video);
    for (int i = 0; i < 300 && clutch_moqt_frame_pub_subscriber_count(telemetry) > 0; i++) nap_ms(20);
    clutch_moqt_client_close(other);
    clutch_moqt_client_close(one);
    await_state(&up, CLUTCH_MOQT_CLOSED, "the end");
    puts("100 frames, 100 of sound, 100 pictures with 10 key frames");
}

int main(int count, char **arguments) {
    if (count == 6 && strcmp(arguments[1], "broadcast") == 0) broadcast(arguments + 2);
    else if (count == 4 && strcmp(arguments[1], "refused") == 0) refused(arguments + 2);
    else if (count == 3 && strcmp(arguments[1], "tracks") == 0) tracks(arguments + 2);
    else fail("usage: roundtrip broadcast|refused|tracks ..");
    return 0;
}
