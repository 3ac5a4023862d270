/*
 * clutch_moqt.h - publish to and watch a MoQT relay from C.
 *
 * The library is libmainstem_ffi.so (or .a). Programs that load the reference engine by its name run on
 * this one unchanged: the symbols and their types are the same.
 *
 * Handles
 *   A handle is a name, not an address: it is never looked into. NULL, handles of another kind and
 *   handles that were closed are refused: functions that return one return NULL, counts are 0, and the
 *   others do nothing. Closing a client closes everything that was made with it.
 *
 * Threads
 *   Every function may be called from any thread. Callbacks of a client come from one thread of its own,
 *   one after the other. Once a close function has returned, the callbacks of what it closed are not
 *   called any more; called from within a callback it returns at once. What a callback is given is valid
 *   until it returns. Clients do not survive fork(): connect in the child.
 *
 * Names
 *   A namespace is written with slashes: "publish/<id>" to publish to a live input, "playback/<id>" to
 *   watch it, on the track "broadcast", which carries fragmented MP4. A broadcast may be written in pieces
 *   cut anywhere; a subscriber gets the init segment first (priority 0), then fragments (priority 1).
 *
 * Environment
 *   MAINSTEM_RELAY        host:port, or https://host:port, to connect to instead of the URL's
 *   MAINSTEM_CERT_SHA256  the relay's certificate, SHA-256 in hex, instead of the system's roots
 *   MAINSTEM_INSECURE     1 trusts any certificate; for debugging only
 */
#ifndef CLUTCH_MOQT_H
#define CLUTCH_MOQT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A client: a session with a relay, and the next one when it is lost. */
typedef struct clutch_moqt_client_t clutch_moqt_client_t;
/* A track of sound that is published, and one that is watched. */
typedef struct clutch_moqt_pub_t clutch_moqt_pub_t;
typedef struct clutch_moqt_sub_t clutch_moqt_sub_t;
/* The same for frames of any kind, and for broadcasts. */
typedef struct clutch_moqt_frame_pub_t clutch_moqt_frame_pub_t;
typedef struct clutch_moqt_frame_sub_t clutch_moqt_frame_sub_t;
/* The same for pictures. */
typedef struct clutch_moqt_video_pub_t clutch_moqt_video_pub_t;
typedef struct clutch_moqt_video_sub_t clutch_moqt_video_sub_t;

/* How a client stands. */
enum {
    CLUTCH_MOQT_CONNECTING = 0,
    CLUTCH_MOQT_CONNECTED = 1,
    CLUTCH_MOQT_RECONNECTING = 2, /* the session was lost; the next one is on its way */
    CLUTCH_MOQT_CLOSED = 3,       /* over: closed here, or what was watched has ended */
    CLUTCH_MOQT_FAILED = 4        /* over: the key or token is refused */
};

/* Where a subscription begins. */
enum {
    CLUTCH_MOQT_NEXT_GROUP_START = 1,
    CLUTCH_MOQT_LARGEST_OBJECT = 2, /* with the next object; video and broadcasts with the newest key frame */
    CLUTCH_MOQT_ABSOLUTE_START = 3, /* with all that the relay retains */
    CLUTCH_MOQT_ABSOLUTE_RANGE = 4  /* the same */
};

/* Called with the state of a client when it changes: one of those above. user: what was given with the callback. */
typedef void (*clutch_moqt_state_cb)(void *user, int32_t state);
/* Called with each frame of sound. timestamp_us: the publisher's, in microseconds. data: len bytes, valid until the
 * callback returns. */
typedef void (*clutch_moqt_frame_cb)(void *user, uint64_t timestamp_us, const uint8_t *data, size_t len);
/* Called with each frame of any kind, and each piece of a broadcast: priority 0 is the init segment, 1 a fragment. */
typedef void (*clutch_moqt_frame_obj_cb)(void *user, uint64_t timestamp_us, uint8_t priority,
                                         const uint8_t *data, size_t len);
/* Called with each picture, the first one a key frame. is_keyframe: 1 or 0. */
typedef void (*clutch_moqt_video_cb)(void *user, uint64_t timestamp_us, int32_t is_keyframe,
                                     const uint8_t *data, size_t len);

/* Begins to connect, and returns at once; NULL for a URL that is none. A lost session is begun anew, with growing
 * pauses; tracks are attached to it again. url: moqt://, moq://, quic:// or https://host[:port]/path. token: a playback
 * token or stream key for a URL that has none; may be NULL. state_cb may be NULL. */
clutch_moqt_client_t *clutch_moqt_connect(const char *url, const char *token,
                                          clutch_moqt_state_cb state_cb, void *user);
/* Ends everything, and waits until what was written is with the relay (3 s at most). */
void clutch_moqt_client_close(clutch_moqt_client_t *client);

/* Publishes a track of sound: frames that can be decoded each by itself. ns, name: the track's, see above. capability:
 * what it is for, such as "voice.tts"; the track carries it on, as it does sample_rate (samples a second), channels and
 * frame_ms (milliseconds of sound in a frame). NULL for a name that is taken or none. */
clutch_moqt_pub_t *clutch_moqt_publish_audio(clutch_moqt_client_t *client, const char *ns, const char *name,
                                             const char *capability, uint32_t sample_rate, uint8_t channels,
                                             uint16_t frame_ms);
/* Writes a frame of sound; data is copied. timestamp_us: microseconds on a clock of the publisher's, growing. What
 * cannot be sent is dropped and logged. */
void clutch_moqt_pub_write(clutch_moqt_pub_t *pub, uint64_t timestamp_us, const uint8_t *data, size_t len);
/* How many subscriptions there are: a relay has one, however many watch there. */
size_t clutch_moqt_pub_subscriber_count(clutch_moqt_pub_t *pub);
/* Ends the track; what was written is still sent. */
void clutch_moqt_pub_close(clutch_moqt_pub_t *pub);
/* Watches a track of sound, from the next frame on. NULL for a name that is none. */
clutch_moqt_sub_t *clutch_moqt_subscribe_audio(clutch_moqt_client_t *client, const char *ns, const char *name,
                                               clutch_moqt_frame_cb cb, void *user);
/* The same, beginning where filter says; NULL also for a filter that is none. */
clutch_moqt_sub_t *clutch_moqt_subscribe_audio_filtered(clutch_moqt_client_t *client, const char *ns,
                                                        const char *name, clutch_moqt_frame_cb cb,
                                                        void *user, uint32_t filter);
/* Ends the subscription. */
void clutch_moqt_sub_close(clutch_moqt_sub_t *sub);

/* Publishes bytes of any kind, each with a priority; or, on a track named "broadcast", fragmented MP4 cut anywhere.
 * capability: what it is for, such as "media.broadcast". schema_tag: what the bytes are, such as the codecs
 * "avc1.42E01F,opus". default_priority: the track's, lower is more urgent. NULL for a name that is taken or none. */
clutch_moqt_frame_pub_t *clutch_moqt_publish_frame(clutch_moqt_client_t *client, const char *ns,
                                                   const char *name, const char *capability,
                                                   const char *schema_tag, uint8_t default_priority);
/* Writes a frame, or the next bytes of a broadcast; data is copied. priority: lower is more urgent. timestamp_us as for
 * sound. What is no fragmented MP4 in a broadcast is dropped and logged. */
void clutch_moqt_frame_write(clutch_moqt_frame_pub_t *pub, uint64_t timestamp_us, const uint8_t *data,
                             size_t len, uint8_t priority);
/* How many subscriptions there are. */
size_t clutch_moqt_frame_pub_subscriber_count(clutch_moqt_frame_pub_t *pub);
/* Ends the track; what was written is still sent. */
void clutch_moqt_frame_pub_close(clutch_moqt_frame_pub_t *pub);
/* Watches frames from the next one on, or a broadcast from its newest key frame. NULL for a name that is none. */
clutch_moqt_frame_sub_t *clutch_moqt_subscribe_frame(clutch_moqt_client_t *client, const char *ns,
                                                     const char *name, clutch_moqt_frame_obj_cb cb,
                                                     void *user);
/* The same, beginning where filter says; NULL also for a filter that is none. */
clutch_moqt_frame_sub_t *clutch_moqt_subscribe_frame_filtered(clutch_moqt_client_t *client, const char *ns,
                                                              const char *name, clutch_moqt_frame_obj_cb cb,
                                                              void *user, uint32_t filter);
/* Ends the subscription. */
void clutch_moqt_frame_sub_close(clutch_moqt_frame_sub_t *sub);

/* Publishes pictures, decodable from a key frame on. Those before the first key frame are not sent. codec (a number
 * that publisher and viewers agree on), width and height (pixels) and fps are carried on by the track. NULL for a name
 * that is taken or none. */
clutch_moqt_video_pub_t *clutch_moqt_publish_video(clutch_moqt_client_t *client, const char *ns,
                                                   const char *name, const char *capability, int32_t codec,
                                                   uint32_t width, uint32_t height, uint32_t fps);
/* Writes a picture; data is copied. is_keyframe: whether decoding can begin with it. timestamp_us as for sound. */
void clutch_moqt_video_write(clutch_moqt_video_pub_t *pub, uint64_t timestamp_us, int32_t is_keyframe,
                             const uint8_t *data, size_t len);
/* How many subscriptions there are. */
size_t clutch_moqt_video_pub_subscriber_count(clutch_moqt_video_pub_t *pub);
/* Ends the track; what was written is still sent. */
void clutch_moqt_video_pub_close(clutch_moqt_video_pub_t *pub);
/* Watches pictures from the newest key frame on. NULL for a name that is none. */
clutch_moqt_video_sub_t *clutch_moqt_subscribe_video(clutch_moqt_client_t *client, const char *ns,
                                                     const char *name, clutch_moqt_video_cb cb, void *user);
/* The same, beginning where filter says; NULL also for a filter that is none. */
clutch_moqt_video_sub_t *clutch_moqt_subscribe_video_filtered(clutch_moqt_client_t *client, const char *ns,
                                                              const char *name, clutch_moqt_video_cb cb,
                                                              void *user, uint32_t filter);
/* Ends the subscription. */
void clutch_moqt_video_sub_close(clutch_moqt_video_sub_t *sub);

#ifdef __cplusplus
}
#endif

#endif
