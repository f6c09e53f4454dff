/* A stand-in for Andor's SDK3 core library, with its C signatures: cameras that count time and fill queued buffers.
   Frame k is ready (k + 1) periods after the start. What tests tell it goes through the standin_ functions. */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

typedef int AT_H;
typedef int AT_BOOL;
typedef long long AT_64;
typedef unsigned char AT_U8;
typedef wchar_t AT_WC;
typedef int (*FeatureCallback)(AT_H, const AT_WC *, void *);

enum { OK = 0, NOTINIT = 1, NOTIMPLEMENTED = 2, NOTWRITABLE = 5, OUTOFRANGE = 6, INDEXNOTAVAILABLE = 7, TOOLONG = 9,
       CONNECTION = 10, NODATA = 11, INVALIDHANDLE = 12, TIMEDOUT = 13, BUFFERFULL = 14, INVALIDSIZE = 15, COMM = 17,
       NOTAVAILABLE = 18, DEVICEINUSE = 38 };
#define SYSTEM 1
#define SENSOR_W 256
#define SENSOR_H 192
#define CLOCK 100000000LL
#define QUEUE 4096

enum { INT, BOOL, FLOAT, ENUM, STRING, COMMAND };
enum { EXPOSURE, RATE, READOUT, TEMPERATURE, BPP, WIDTH, HEIGHT, LEFT, TOP, HBIN, VBIN, STRIDE, SIZE, SW, SH, COUNT, CLOCKF,
       ACQUIRING, COOLING, META, METATIME, EVENTENABLE, OVERFLOWEVENT, CYCLE, TRIGGER, ENCODING, PREAMP, SELECTOR,
       NAME, MODEL, SERIAL, FIRMWARE, START, STOP, N_FEATURES };
typedef struct { const wchar_t *name; int kind, writable; double def; const wchar_t *choices[4]; } feature;
static const feature F[N_FEATURES] = {
    [EXPOSURE] = {L"ExposureTime", FLOAT, 1, 0.01}, [RATE] = {L"FrameRate", FLOAT, 1, 50},
    [READOUT] = {L"ReadoutTime", FLOAT, 0, 0.002}, [TEMPERATURE] = {L"SensorTemperature", FLOAT, 0, -4.5},
    [BPP] = {L"BytesPerPixel", FLOAT, 0, 2}, [WIDTH] = {L"AOIWidth", INT, 1, SENSOR_W},
    [HEIGHT] = {L"AOIHeight", INT, 1, SENSOR_H}, [LEFT] = {L"AOILeft", INT, 1, 1}, [TOP] = {L"AOITop", INT, 1, 1},
    [HBIN] = {L"AOIHBin", INT, 1, 1}, [VBIN] = {L"AOIVBin", INT, 1, 1}, [STRIDE] = {L"AOIStride", INT, 0, 0},
    [SIZE] = {L"ImageSizeBytes", INT, 0, 0}, [SW] = {L"SensorWidth", INT, 0, SENSOR_W},
    [SH] = {L"SensorHeight", INT, 0, SENSOR_H}, [COUNT] = {L"FrameCount", INT, 1, 1},
    [CLOCKF] = {L"TimestampClockFrequency", INT, 0, CLOCK}, [ACQUIRING] = {L"CameraAcquiring", BOOL, 0, 0},
    [COOLING] = {L"SensorCooling", BOOL, 1, 0}, [META] = {L"MetadataEnable", BOOL, 1, 0},
    [METATIME] = {L"MetadataTimestamp", BOOL, 1, 0}, [EVENTENABLE] = {L"EventEnable", BOOL, 1, 0},
    [OVERFLOWEVENT] = {L"BufferOverflowEvent", INT, 0, 0},
    [CYCLE] = {L"CycleMode", ENUM, 1, 0, {L"Fixed", L"Continuous"}},
    [TRIGGER] = {L"TriggerMode", ENUM, 1, 0, {L"Internal", L"Software"}},
    [ENCODING] = {L"PixelEncoding", ENUM, 1, 0, {L"Mono12Packed", L"Mono16"}},
    [PREAMP] = {L"SimplePreAmpGainControl", ENUM, 1, 0, {L"12-bit (low noise)", L"16-bit (low noise & high well capacity)"}},
    [SELECTOR] = {L"EventSelector", ENUM, 1, 0, {L"ExposureEndEvent", L"BufferOverflowEvent"}},
    [NAME] = {L"CameraName", STRING}, [MODEL] = {L"CameraModel", STRING}, [SERIAL] = {L"SerialNumber", STRING},
    [FIRMWARE] = {L"FirmwareVersion", STRING}, [START] = {L"AcquisitionStart", COMMAND}, [STOP] = {L"AcquisitionStop", COMMAND},
};

typedef struct {
    const wchar_t *serial;
    int open, running, next, head, tail;
    double v[N_FEATURES], since;
    AT_U8 *queue[QUEUE];
    int sizes[QUEUE];
    FeatureCallback callback;
} cam;
static cam cams[2] = {{.serial = L"SFT-00011"}, {.serial = L"SFT-00012"}};
static int inited, attached = 2, stall_after = -1, lose_at = -1, lose_n, fail_code;
static const wchar_t *fail_feature;
static wchar_t fail_name[64];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static void nap(double s) {
    struct timespec t = {0, (long)(s * 1e9)};
    nanosleep(&t, 0);
}
static int find(const AT_WC *name) {
    for (int i = 0; i < N_FEATURES; i++) if (!wcscmp(F[i].name, name)) return i;
    return -1;
}
static cam *of(AT_H h) { return h >= 100 && h < 102 && cams[h - 100].open ? &cams[h - 100] : 0; }
static int bad(AT_H h) {
    if (!inited) return NOTINIT;
    if (!of(h)) return INVALIDHANDLE;
    return h - 100 >= attached ? CONNECTION : 0;
}
static double fastest(cam *c) { return 1 / fmax(c->v[EXPOSURE], c->v[READOUT]); }
static double rate(cam *c) { return fmin(c->v[RATE], fastest(c)); }
static int bytes_per_pixel_x2(cam *c) { return c->v[ENCODING] == 1 ? 4 : 3; }
static int stride(cam *c) { return ((int)c->v[WIDTH] * bytes_per_pixel_x2(c) / 2 + 7) / 8 * 8; }
static int image_size(cam *c) { return stride(c) * (int)c->v[HEIGHT]; }
static int size(cam *c) { return image_size(c) + (c->v[META] ? 24 : 0); }
static int due(cam *c) {
    int n = (int)((now() - c->since) * rate(c));
    if (lose_at >= 0 && n > lose_at) n = n - lose_n > lose_at ? n - lose_n : lose_at;
    if (stall_after >= 0 && n > stall_after) n = stall_after;
    return n < c->v[COUNT] ? n : (int)c->v[COUNT];
}
static double get(cam *c, int i) {
    switch (i) {
    case RATE: return rate(c);
    case BPP: return bytes_per_pixel_x2(c) / 2.0;
    case STRIDE: return stride(c);
    case SIZE: return size(c);
    case ACQUIRING: return c->running && c->next < c->v[COUNT];
    default: return c->v[i];
    }
}
static void range(cam *c, int i, double *low, double *high) {
    *low = 0; *high = 0;
    switch (i) {
    case EXPOSURE: *low = 1e-4; *high = 30; break;
    case RATE: *low = 0.01; *high = fastest(c); break;
    case WIDTH: *low = 8; *high = floor((SENSOR_W - (c->v[LEFT] - 1)) / c->v[HBIN]); break;
    case HEIGHT: *low = 8; *high = floor((SENSOR_H - (c->v[TOP] - 1)) / c->v[VBIN]); break;
    case LEFT: *low = 1; *high = SENSOR_W - c->v[WIDTH] * c->v[HBIN] + 1; break;
    case TOP: *low = 1; *high = SENSOR_H - c->v[HEIGHT] * c->v[VBIN] + 1; break;
    case HBIN: case VBIN: *low = 1; *high = 4; break;
    case COUNT: *low = 1; *high = 2147483647; break;
    default: break;
    }
}
static int put(AT_H h, const AT_WC *name, int kind, double value) {
    int e = bad(h), i = find(name);
    if (e) return e;
    if (i < 0) return NOTIMPLEMENTED;
    if (fail_feature && !wcscmp(name, fail_feature)) { fail_feature = 0; return fail_code; }
    cam *c = of(h);
    if (!F[i].writable || F[i].kind != kind || (get(c, ACQUIRING) && i != EXPOSURE)) return NOTWRITABLE;
    double low, high;
    range(c, i, &low, &high);
    if (high > low && (value < low || value > high * (1 + 1e-9))) return OUTOFRANGE;
    c->v[i] = value;
    return OK;
}
#define GET(h, name) int e = bad(h), i = find(name); if (e) return e; if (i < 0) return NOTIMPLEMENTED; cam *c = of(h)

int AT_InitialiseLibrary(void) { inited = 1; return OK; }
int AT_FinaliseLibrary(void) { inited = 0; return OK; }
int AT_Open(int index, AT_H *h) {
    if (!inited) return NOTINIT;
    if (index < 0 || index >= attached) return CONNECTION;
    cam *c = &cams[index];
    if (c->open) return DEVICEINUSE;
    const wchar_t *serial = c->serial;
    memset(c, 0, sizeof *c);
    c->serial = serial; c->open = 1;
    for (int i = 0; i < N_FEATURES; i++) c->v[i] = F[i].def;
    *h = 100 + index;
    return OK;
}
int AT_Close(AT_H h) { cam *c = of(h); if (!c) return INVALIDHANDLE; c->open = c->running = 0; return OK; }
int AT_IsImplemented(AT_H h, const AT_WC *f, AT_BOOL *b) { int e = bad(h); *b = find(f) >= 0; return e; }
int AT_IsReadable(AT_H h, const AT_WC *f, AT_BOOL *b) { GET(h, f); (void)c; *b = F[i].kind != COMMAND; return OK; }
int AT_IsWritable(AT_H h, const AT_WC *f, AT_BOOL *b) { GET(h, f); *b = F[i].writable && !get(c, ACQUIRING); return OK; }
int AT_IsReadOnly(AT_H h, const AT_WC *f, AT_BOOL *b) { GET(h, f); (void)c; *b = !F[i].writable; return OK; }
int AT_SetInt(AT_H h, const AT_WC *f, AT_64 v) { return put(h, f, INT, (double)v); }
int AT_GetInt(AT_H h, const AT_WC *f, AT_64 *v) {
    if (h == SYSTEM && !wcscmp(f, L"DeviceCount")) { *v = attached; return inited ? OK : NOTINIT; }
    GET(h, f);
    *v = (AT_64)get(c, i);
    return OK;
}
int AT_GetIntMin(AT_H h, const AT_WC *f, AT_64 *v) { GET(h, f); double l, u; range(c, i, &l, &u); *v = (AT_64)l; return OK; }
int AT_GetIntMax(AT_H h, const AT_WC *f, AT_64 *v) { GET(h, f); double l, u; range(c, i, &l, &u); *v = (AT_64)u; return OK; }
int AT_SetFloat(AT_H h, const AT_WC *f, double v) { return put(h, f, FLOAT, v); }
int AT_GetFloat(AT_H h, const AT_WC *f, double *v) { GET(h, f); *v = get(c, i); return OK; }
int AT_GetFloatMin(AT_H h, const AT_WC *f, double *v) { GET(h, f); double u; range(c, i, v, &u); return OK; }
int AT_GetFloatMax(AT_H h, const AT_WC *f, double *v) { GET(h, f); double l; range(c, i, &l, v); return OK; }
int AT_SetBool(AT_H h, const AT_WC *f, AT_BOOL v) { return put(h, f, BOOL, v); }
int AT_GetBool(AT_H h, const AT_WC *f, AT_BOOL *v) { GET(h, f); *v = get(c, i) != 0; return OK; }
int AT_SetEnumIndex(AT_H h, const AT_WC *f, int v) { return put(h, f, ENUM, v); }
int AT_SetEnumString(AT_H h, const AT_WC *f, const AT_WC *s) {
    int i = find(f);
    if (i < 0) return NOTIMPLEMENTED;
    for (int k = 0; k < 4 && F[i].choices[k]; k++)
        if (!wcscmp(F[i].choices[k], s)) return put(h, f, ENUM, k);
    return NOTAVAILABLE;
}
int AT_GetEnumIndex(AT_H h, const AT_WC *f, int *v) { GET(h, f); *v = (int)get(c, i); return OK; }
int AT_GetEnumCount(AT_H h, const AT_WC *f, int *n) {
    GET(h, f);
    (void)c;
    for (*n = 0; *n < 4 && F[i].choices[*n]; ++*n);
    return OK;
}
int AT_IsEnumIndexAvailable(AT_H h, const AT_WC *f, int k, AT_BOOL *b) { GET(h, f); (void)c; *b = k >= 0 && k < 4 && F[i].choices[k]; return OK; }
int AT_IsEnumIndexImplemented(AT_H h, const AT_WC *f, int k, AT_BOOL *b) { return AT_IsEnumIndexAvailable(h, f, k, b); }
static int copy(AT_WC *to, int n, const wchar_t *from) {
    if ((int)wcslen(from) >= n) return TOOLONG;
    wcscpy(to, from);
    return OK;
}
int AT_GetEnumStringByIndex(AT_H h, const AT_WC *f, int k, AT_WC *s, int n) {
    GET(h, f);
    (void)c;
    return k < 0 || k >= 4 || !F[i].choices[k] ? INDEXNOTAVAILABLE : copy(s, n, F[i].choices[k]);
}
int AT_SetString(AT_H h, const AT_WC *f, const AT_WC *s) { (void)h; (void)f; (void)s; return NOTWRITABLE; }
int AT_GetString(AT_H h, const AT_WC *f, AT_WC *s, int n) {
    if (h == SYSTEM) return copy(s, n, L"3.15 stand-in");
    GET(h, f);
    return copy(s, n, i == SERIAL ? c->serial : i == MODEL ? L"STAND-IN" : i == NAME ? L"Stand-in" : L"1");
}
int AT_GetStringMaxLength(AT_H h, const AT_WC *f, int *n) { (void)h; (void)f; *n = 64; return OK; }
int AT_Command(AT_H h, const AT_WC *f) {
    GET(h, f);
    pthread_mutex_lock(&mutex);
    if (i == START) { c->running = 1; c->next = 0; c->since = now(); }
    if (i == STOP) c->running = 0;
    pthread_mutex_unlock(&mutex);
    return OK;
}
int AT_RegisterFeatureCallback(AT_H h, const AT_WC *f, FeatureCallback cb, void *context) {
    GET(h, f);
    (void)context;
    c->callback = cb;
    return OK;
}
int AT_UnregisterFeatureCallback(AT_H h, const AT_WC *f, FeatureCallback cb, void *context) {
    GET(h, f);
    (void)cb; (void)context;
    c->callback = 0;
    return OK;
}
int AT_QueueBuffer(AT_H h, AT_U8 *p, int n) {
    int e = bad(h);
    if (e) return e;
    cam *c = of(h);
    pthread_mutex_lock(&mutex);
    if (n < size(c)) e = INVALIDSIZE;
    else if (c->tail - c->head >= QUEUE) e = BUFFERFULL;
    else { c->queue[c->tail % QUEUE] = p; c->sizes[c->tail++ % QUEUE] = n; }
    pthread_mutex_unlock(&mutex);
    return e;
}
int AT_Flush(AT_H h) { int e = bad(h); if (e) return e; of(h)->head = of(h)->tail = 0; return OK; }

static void fill(cam *c, AT_U8 *p, int k) {
    int number = lose_at >= 0 && k >= lose_at ? k + lose_n : k, w = (int)c->v[WIDTH], h = (int)c->v[HEIGHT], n = image_size(c);
    memset(p, 0xAA, n);  /* what stands between the rows is no image */
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint16_t value = (uint16_t)(1000 * (number % 60) + 7 * (y + (int)c->v[TOP] - 1) % 500 + (x + (int)c->v[LEFT] - 1) % 400);
            if (x == 0 && y == 0) value = (uint16_t)number;
            memcpy(p + y * stride(c) + 2 * x, &value, 2);
        }
    if (c->v[META]) {
        uint32_t image_tail[2] = {0, (uint32_t)n + 4}, tick_tail[2] = {1, 12};
        int64_t ticks = (int64_t)(((number + 1) / rate(c) + 77) * CLOCK);
        memcpy(p + n, image_tail, 8); memcpy(p + n + 8, &ticks, 8); memcpy(p + n + 16, tick_tail, 8);
    }
}
int AT_WaitBuffer(AT_H h, AT_U8 **p, int *n, unsigned timeout) {
    double end = now() + timeout / 1000.0;
    do {
        int e = bad(h);
        if (e) return e;
        cam *c = of(h);
        pthread_mutex_lock(&mutex);
        if (c->running && c->next < due(c) && c->head < c->tail) {
            *p = c->queue[c->head % QUEUE]; *n = c->sizes[c->head++ % QUEUE];
            fill(c, *p, c->next++);
            if (c->next >= c->v[COUNT]) c->running = 0;
            pthread_mutex_unlock(&mutex);
            return OK;
        }
        pthread_mutex_unlock(&mutex);
        if (now() < end) nap(0.0003);
    } while (now() < end);
    return TIMEDOUT;
}

void standin_attach(int n) { attached = n; }
void standin_stall_after(int frames) { stall_after = frames; }
void standin_lose(int at, int n) { lose_at = at; lose_n = n; }
void standin_fail_feature(const wchar_t *name, int code) { wcsncpy(fail_name, name, 63); fail_feature = fail_name; fail_code = code; }
void standin_overflow(int which) { if (cams[which].callback) cams[which].callback(100 + which, F[OVERFLOWEVENT].name, 0); }
int standin_open_cameras(void) { return cams[0].open + cams[1].open; }
int standin_running(void) { return (cams[0].open && cams[0].running) + (cams[1].open && cams[1].running); }
int standin_inited(void) { return inited; }
int standin_cooling(int which) { return (int)cams[which].v[COOLING]; }
