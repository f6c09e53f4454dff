/* A stand-in for Mad City Labs' Madlib, with its C signatures: two drives of three axes, the first without y.
   What tests tell it goes through the standin_ functions; nothing else is of the vendor's. */
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { GENERAL = -1, DEV = -2, NOT_ATTACHED = -3, USAGE = -4, NOT_READY = -5, ARGUMENT = -6, AXIS = -7, HANDLE = -8 };

#pragma pack(push, 1)
struct ProductInformation {
    unsigned char axis_bitmap;
    short ADC_resolution, DAC_resolution, Product_id, FirmwareVersion, FirmwareProfile;
};
#pragma pack(pop)

typedef struct {
    int serial, handle, attached, stuck, error;
    double range[4], from[4], to[4], since[4];
} drive_t;

static drive_t drives[2] = {
    {.serial = 1234, .attached = 1, .range = {0, 200, 0, 300}},
    {.serial = 5678, .attached = 1, .range = {0, 100, 100, 50}},
};
static int next_handle = 100;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}
static drive_t *of(int handle) {
    for (int i = 0; i < 2; i++)
        if (handle > 0 && drives[i].handle == handle) return &drives[i];
    return 0;
}
static int bad(drive_t *d, unsigned axis) {
    if (!d) return HANDLE;
    if (!d->attached) return NOT_ATTACHED;
    if (d->error) { int e = d->error; d->error = 0; return e; }
    if (axis < 1 || axis > 3 || d->range[axis] == 0) return AXIS;
    return 0;
}
static double at(drive_t *d, unsigned a) {  /* approaches its target with a time constant of 3 ms */
    if (d->stuck) return d->from[a];
    return d->to[a] + (d->from[a] - d->to[a]) * exp(-(now() - d->since[a]) / 0.003);
}
static int take(drive_t *d) {
    if (d->handle || !d->attached) return 0;
    return d->handle = next_handle++;
}

int MCL_InitHandle(void) { return take(&drives[0]) ? drives[0].handle : take(&drives[1]); }
int MCL_InitHandleOrGetExisting(void) {
    for (int i = 0; i < 2; i++)
        if (drives[i].attached) return drives[i].handle ? drives[i].handle : take(&drives[i]);
    return 0;
}
int MCL_GrabAllHandles(void) {
    int n = 0;
    for (int i = 0; i < 2; i++) { take(&drives[i]); n += drives[i].handle > 0; }
    return n;
}
int MCL_GetAllHandles(int *handles, int size) {
    int n = 0;
    for (int i = 0; i < 2 && n < size; i++)
        if (drives[i].handle) handles[n++] = drives[i].handle;
    return n;
}
void MCL_ReleaseHandle(int handle) {
    drive_t *d = of(handle);
    if (d) d->handle = 0;
}
int MCL_GetSerialNumber(int handle) { drive_t *d = of(handle); return !d ? HANDLE : !d->attached ? NOT_ATTACHED : d->serial; }
int MCL_ProductInfo(struct ProductInformation *p, int handle) {
    drive_t *d = of(handle);
    if (!d) return HANDLE;
    if (!d->attached) return NOT_ATTACHED;
    memset(p, 0, sizeof *p);
    p->axis_bitmap = 5; p->ADC_resolution = 20; p->DAC_resolution = 20; p->Product_id = 0x2001;
    return 0;
}
bool MCL_DeviceAttached(int milliseconds, int handle) { drive_t *d = of(handle); (void)milliseconds; return d && d->attached; }
double MCL_GetCalibration(unsigned int axis, int handle) {
    drive_t *d = of(handle);
    int e = bad(d, axis);
    return e ? e : d->range[axis];
}
double MCL_SingleReadN(unsigned int axis, int handle) {
    drive_t *d = of(handle);
    int e = bad(d, axis);
    return e ? e : at(d, axis);
}
int MCL_SingleWriteN(double position, unsigned int axis, int handle) {
    drive_t *d = of(handle);
    int e = bad(d, axis);
    if (e) return e;
    if (position < 0 || position > d->range[axis]) return ARGUMENT;
    d->from[axis] = at(d, axis); d->to[axis] = position; d->since[axis] = now();
    return 0;
}

void standin_attach(int which, int attached) {
    drives[which].attached = attached;
    if (!attached) drives[which].handle = 0;
}
void standin_unplug_keeping_handle(int which) { drives[which].attached = 0; }
void standin_fail_next(int which, int error) { drives[which].error = error; }
void standin_stick(int which, int stuck) { drives[which].stuck = stuck; }
int standin_open_handles(void) { return (drives[0].handle > 0) + (drives[1].handle > 0); }
