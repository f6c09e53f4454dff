/* A stand-in for Hamamatsu's DCAM-API 4, with its C signatures and structures: cameras that count time.
   Frame k is ready (k + 1) periods after the start; nothing runs in between. What tests tell it goes through the
   standin_ functions. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int32_t int32;
typedef struct cam cam, *HDCAM;
typedef cam *HDCAMWAIT;

#define BUSY 0x80000101
#define NOTREADY 0x80000103
#define TIMEOUT 0x80000106
#define NOCAMERA 0x80000206
#define FAILOPENCAMERA 0x82001001
#define INVALIDHANDLE 0x80000807
#define OUTOFRANGE 0x80000822
#define NOPROPERTY 0x80000828
#define NOVALUETEXT 0x8000082d
#define INVALIDFRAMEINDEX 0x80000833
#define NOCONNECTION 0x80000f07

typedef struct { int32 size, iDeviceCount, reserved, initoptionbytes; const int32 *initoption; const void *guid; } DCAMAPI_INIT;
typedef struct { int32 size, index; HDCAM hdcam; } DCAMDEV_OPEN;
typedef struct { int32 size, domain, capflag, kind; } DCAMDEV_CAPABILITY;
typedef struct { int32 size, iString; char *text; int32 textbytes; } DCAMDEV_STRING;
typedef struct { int32 size, iKind, option, reserved2; } DCAMDATA_HDR;
typedef struct {
    int32 cbSize, iProp, option, iReserved1, attribute, iGroup, iUnit, attribute2;
    double valuemin, valuemax, valuestep, valuedefault;
    int32 nMaxChannel, iReserved3, nMaxView, iProp_NumberOfElement, iProp_ArrayBase, iPropStep_Element;
} DCAMPROP_ATTR;
typedef struct { int32 cbSize, iProp; double value; char *text; int32 textbytes; } DCAMPROP_VALUETEXT;
typedef struct { uint32_t sec; int32 microsec; } DCAM_TIMESTAMP;
typedef struct {
    int32 size, iKind, option, iFrame;
    void *buf;
    int32 rowbytes, type, width, height, left, top;
    DCAM_TIMESTAMP timestamp;
    int32 framestamp, camerastamp;
} DCAMBUF_FRAME;
typedef struct { int32 size, supportevent; HDCAMWAIT hwait; HDCAM hdcam; } DCAMWAIT_OPEN;
typedef struct { int32 size, eventhappened, eventmask, timeout; } DCAMWAIT_START;
typedef struct { int32 size, iKind, nNewestFrameIndex, nFrameCount; } DCAMCAP_TRANSFERINFO;

enum { EXPOSURE = 0x001F0110, TRIGGER = 0x00100110, TEMPERATURE = 0x00200310, GAIN = 0x00300120, SPEED = 0x00400110,
       BINNING = 0x00401110, HPOS = 0x00402110, HSIZE = 0x00402120, VPOS = 0x00402130, VSIZE = 0x00402140,
       SUBMODE = 0x00402150, READOUT = 0x00403010, BITS = 0x00420130, WIDTH = 0x00420210, HEIGHT = 0x00420220 };
enum { MODE = 1, LONG = 2, REAL = 3, R = 0x10000, W = 0x20000, TEXT = 0x10000000 };
#define SENSOR_W 256
#define SENSOR_H 192

typedef struct { int32 id; const char *name; int32 attribute; double min, max, step, def; } prop;
static const prop PROPS[] = {
    {TRIGGER, "TRIGGER SOURCE", MODE | R | W | TEXT, 1, 3, 1, 1},
    {EXPOSURE, "EXPOSURE TIME", REAL | R | W, 0.001, 10, 0, 0.01},
    {TEMPERATURE, "SENSOR TEMPERATURE", REAL | R, -100, 100, 0, -9.5},
    {GAIN, "CONTRAST GAIN", LONG | R | W, 0, 255, 1, 0},
    {SPEED, "READOUT SPEED", LONG | R | W, 1, 2, 1, 2},
    {BINNING, "BINNING", MODE | R | W | TEXT, 1, 4, 1, 1},
    {HPOS, "SUBARRAY HPOS", LONG | R | W, 0, SENSOR_W - 4, 4, 0},
    {HSIZE, "SUBARRAY HSIZE", LONG | R | W, 4, SENSOR_W, 4, SENSOR_W},
    {VPOS, "SUBARRAY VPOS", LONG | R | W, 0, SENSOR_H - 4, 4, 0},
    {VSIZE, "SUBARRAY VSIZE", LONG | R | W, 4, SENSOR_H, 4, SENSOR_H},
    {SUBMODE, "SUBARRAY MODE", MODE | R | W | TEXT, 1, 2, 1, 1},
    {READOUT, "TIMING READOUT TIME", REAL | R, 0, 1, 0, 0.002},
    {BITS, "BIT PER CHANNEL", LONG | R, 8, 16, 8, 16},
    {WIDTH, "IMAGE WIDTH", LONG | R, 1, SENSOR_W, 1, SENSOR_W},
    {HEIGHT, "IMAGE HEIGHT", LONG | R, 1, SENSOR_H, 1, SENSOR_H},
};
enum { N_PROPS = sizeof PROPS / sizeof *PROPS };

struct cam {
    const char *serial;
    int open, waits, running, buffers, mode;
    double value[N_PROPS], since;
    int stopped_at;
    uint16_t *ring;
};
static cam cams[2] = {{.serial = "S/N: 100200"}, {.serial = "S/N: 100201"}};
static int inited, attached = 2, stall_after = -1, lose_at = -1, lose_n, fail_code, calls_until_fail = -1;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static void nap(double s) {
    struct timespec t = {(time_t)s, (long)((s - floor(s)) * 1e9)};
    nanosleep(&t, 0);
}
static int find(int32 id) {
    for (int i = 0; i < N_PROPS; i++) if (PROPS[i].id == id) return i;
    return -1;
}
static double *value(cam *c, int32 id) { return &c->value[find(id)]; }
static int bad(cam *c) {
    if (!inited || c < cams || c >= cams + 2 || !c->open) return (int)INVALIDHANDLE;
    if (c - cams >= attached) return (int)NOCONNECTION;
    if (calls_until_fail > 0 && --calls_until_fail == 0) return fail_code;
    return 0;
}
#define CHECK(c) do { int e = bad(c); if (e) return e; } while (0)

static double period(cam *c) { return fmax(*value(c, EXPOSURE), *value(c, READOUT)); }
static int taken(cam *c) {  /* frames that have reached the computer */
    if (!c->running) return c->stopped_at;
    int n = (int)((now() - c->since) / period(c));
    if (lose_at >= 0 && n > lose_at) n = n - lose_n > lose_at ? n - lose_n : lose_at;
    if (c->mode == 0 && n > c->buffers) n = c->buffers;
    if (stall_after >= 0 && n > stall_after) n = stall_after;
    return n;
}
static int busy(cam *c) { return c->running && !(c->mode == 0 && taken(c) >= c->buffers); }
static int number(int k) { return lose_at >= 0 && k >= lose_at ? k + lose_n : k; }  /* as the camera counts */

int32 dcamapi_init(DCAMAPI_INIT *p) {
    if (!attached) return (int32)NOCAMERA;
    inited = 1;
    p->iDeviceCount = attached;
    return 1;
}
int32 dcamapi_uninit(void) { inited = 0; return 1; }
int32 dcamdev_open(DCAMDEV_OPEN *p) {
    if (!inited || p->index >= attached) return (int32)NOCAMERA;
    cam *c = &cams[p->index];
    if (c->open) return (int32)FAILOPENCAMERA;
    const char *serial = c->serial;
    memset(c, 0, sizeof *c);
    c->serial = serial;
    c->open = 1;
    for (int i = 0; i < N_PROPS; i++) c->value[i] = PROPS[i].def;
    p->hdcam = c;
    return 1;
}
int32 dcamdev_close(HDCAM c) { if (!c || !c->open) return (int32)INVALIDHANDLE; c->open = c->running = 0; return 1; }
int32 dcamdev_getcapability(HDCAM c, DCAMDEV_CAPABILITY *p) { CHECK(c); p->capflag = 0; return 1; }
int32 dcamdev_getstring(HDCAM c, DCAMDEV_STRING *p) {
    CHECK(c);
    const char *s = p->iString == 0x04000102 ? c->serial : p->iString == 0x04000103 ? "Hamamatsu"
                  : p->iString == 0x04000104 ? "STAND-IN" : "1.00";
    snprintf(p->text, p->textbytes, "%s", s);
    return 1;
}
int32 dcamdev_setdata(HDCAM c, DCAMDATA_HDR *p) { (void)p; CHECK(c); return 1; }
int32 dcamdev_getdata(HDCAM c, DCAMDATA_HDR *p) { (void)p; CHECK(c); return 1; }

int32 dcamprop_getattr(HDCAM c, DCAMPROP_ATTR *p) {
    CHECK(c);
    int i = find(p->iProp);
    if (i < 0) return (int32)NOPROPERTY;
    p->attribute = PROPS[i].attribute;
    p->valuemin = PROPS[i].min; p->valuemax = PROPS[i].max; p->valuestep = PROPS[i].step; p->valuedefault = PROPS[i].def;
    return 1;
}
int32 dcamprop_getvalue(HDCAM c, int32 id, double *v) {
    CHECK(c);
    int i = find(id);
    if (i < 0) return (int32)NOPROPERTY;
    double b = *value(c, BINNING);
    *v = id == WIDTH ? floor(*value(c, HSIZE) / b) : id == HEIGHT ? floor(*value(c, VSIZE) / b) : c->value[i];
    return 1;
}
int32 dcamprop_setgetvalue(HDCAM c, int32 id, double *v, int32 option) {
    (void)option;
    CHECK(c);
    int i = find(id);
    if (i < 0) return (int32)NOPROPERTY;
    if (busy(c) && id != EXPOSURE) return (int32)BUSY;
    if (*v < PROPS[i].min || *v > PROPS[i].max || (id == BINNING && *v == 3)) return (int32)OUTOFRANGE;
    if ((id == HPOS && *v + *value(c, HSIZE) > SENSOR_W) || (id == VPOS && *v + *value(c, VSIZE) > SENSOR_H) ||
        (id == HSIZE && *v + *value(c, HPOS) > SENSOR_W) || (id == VSIZE && *v + *value(c, VPOS) > SENSOR_H))
        return (int32)OUTOFRANGE;
    if (PROPS[i].step > 0) *v = floor(*v / PROPS[i].step) * PROPS[i].step;
    c->value[i] = *v;
    return 1;
}
int32 dcamprop_setvalue(HDCAM c, int32 id, double v) { return dcamprop_setgetvalue(c, id, &v, 0); }
int32 dcamprop_queryvalue(HDCAM c, int32 id, double *v, int32 option) { (void)option; return dcamprop_getvalue(c, id, v); }
int32 dcamprop_getnextid(HDCAM c, int32 *id, int32 option) {
    (void)option;
    CHECK(c);
    int i = *id ? find(*id) + 1 : 0;
    if (i >= N_PROPS) return (int32)NOPROPERTY;
    *id = PROPS[i].id;
    return 1;
}
int32 dcamprop_getname(HDCAM c, int32 id, char *text, int32 n) {
    CHECK(c);
    int i = find(id);
    if (i < 0) return (int32)NOPROPERTY;
    snprintf(text, n, "%s", PROPS[i].name);
    return 1;
}
int32 dcamprop_getvaluetext(HDCAM c, DCAMPROP_VALUETEXT *p) {
    CHECK(c);
    int i = find(p->iProp), v = (int)p->value;
    if (i < 0 || !(PROPS[i].attribute & TEXT) || v < PROPS[i].min || v > PROPS[i].max || (p->iProp == BINNING && v == 3))
        return (int32)NOVALUETEXT;
    if (p->iProp == BINNING) snprintf(p->text, p->textbytes, "%dX%d", v, v);
    else snprintf(p->text, p->textbytes, "CHOICE %d", v);
    return 1;
}

int32 dcambuf_alloc(HDCAM c, int32 n) {
    CHECK(c);
    if (busy(c)) return (int32)BUSY;
    c->running = 0;
    free(c->ring);
    c->ring = malloc((size_t)n * SENSOR_W * SENSOR_H * 2);
    c->buffers = n;
    return 1;
}
int32 dcambuf_release(HDCAM c, int32 kind) {
    (void)kind;
    CHECK(c);
    if (busy(c)) return (int32)BUSY;
    c->running = 0;
    free(c->ring);
    c->ring = 0; c->buffers = 0;
    return 1;
}
int32 dcamcap_start(HDCAM c, int32 mode) {
    CHECK(c);
    if (!c->ring || busy(c)) return (int32)NOTREADY;
    c->mode = mode; c->running = 1; c->stopped_at = 0; c->since = now();
    return 1;
}
int32 dcamcap_stop(HDCAM c) { CHECK(c); c->stopped_at = taken(c); c->running = 0; return 1; }
int32 dcamcap_status(HDCAM c, int32 *status) {
    CHECK(c);
    *status = busy(c) ? 1 : c->ring ? 2 : 3;
    return 1;
}
int32 dcamcap_transferinfo(HDCAM c, DCAMCAP_TRANSFERINFO *p) {
    CHECK(c);
    p->nFrameCount = taken(c);
    p->nNewestFrameIndex = c->buffers ? (p->nFrameCount - 1) % c->buffers : -1;
    return 1;
}
int32 dcamcap_firetrigger(HDCAM c, int32 kind) { (void)kind; CHECK(c); return 1; }
int32 dcamwait_open(DCAMWAIT_OPEN *p) { CHECK(p->hdcam); p->hwait = p->hdcam; p->hdcam->waits++; return 1; }
int32 dcamwait_close(HDCAMWAIT w) { if (!w || !w->waits) return (int32)INVALIDHANDLE; w->waits--; return 1; }
int32 dcamwait_start(HDCAMWAIT c, DCAMWAIT_START *p) {
    CHECK(c);
    int had = taken(c);
    for (double end = now() + p->timeout / 1000.0; now() < end; nap(0.0003)) {
        CHECK(c);
        if (taken(c) > had) { p->eventhappened = p->eventmask; return 1; }
    }
    return (int32)TIMEOUT;
}
int32 dcamwait_abort(HDCAMWAIT c) { (void)c; return 1; }
int32 dcambuf_lockframe(HDCAM c, DCAMBUF_FRAME *p) {
    CHECK(c);
    int n = taken(c);
    if (!c->ring || p->iFrame < 0 || p->iFrame >= c->buffers || n == 0) return (int32)INVALIDFRAMEINDEX;
    int k = (n - 1) - ((n - 1 - p->iFrame) % c->buffers + c->buffers) % c->buffers;  /* newest frame in that place */
    double w, h, left, top;
    dcamprop_getvalue(c, WIDTH, &w); dcamprop_getvalue(c, HEIGHT, &h);
    left = *value(c, HPOS); top = *value(c, VPOS);
    p->buf = c->ring + (size_t)p->iFrame * SENSOR_W * SENSOR_H;
    p->width = w; p->height = h; p->rowbytes = 2 * p->width; p->type = 2; p->left = left; p->top = top;
    /* A pixel tells the frame, its row and its column: the sensor's, before binning. */
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++)
            ((uint16_t *)p->buf)[y * p->width + x] = (uint16_t)(1000 * (number(k) % 60) + 7 * (y + (int)top) % 500 + (x + (int)left) % 400);
    ((uint16_t *)p->buf)[0] = (uint16_t)number(k);
    double t = (number(k) + 1) * period(c) + 12345;  /* the camera's own clock */
    p->timestamp.sec = (uint32_t)t; p->timestamp.microsec = (int32)((t - floor(t)) * 1e6);
    p->framestamp = number(k); p->camerastamp = number(k) % 65536;
    return 1;
}

void standin_attach(int n) { attached = n; if (!n) inited = 0; }
void standin_stall_after(int frames) { stall_after = frames; }
void standin_lose(int at, int n) { lose_at = at; lose_n = n; }
void standin_fail_after(int calls, int code) { calls_until_fail = calls; fail_code = code; }
int standin_open_cameras(void) { return cams[0].open + cams[1].open; }
int standin_running(void) { return busy(&cams[0]) + busy(&cams[1]); }
int standin_inited(void) { return inited; }
