/* The lease protocol of garbage collection, for one digest.
 *
 * Steps bear the names of the functions that do them: BlobStore.publish, renewIfOld, renew and retire (Sources/Blobs),
 * Registry.require, join and deleteManifest, GarbageCollector.mark and sweep (Sources/Registry). What is atomic here is
 * one call of the object store there: a get, a conditional put, a delete.
 *
 * What is assumed: a push's time from `require` to `join` is at most three quarters of the grace period, and clocks
 * agree (the collector's clock skew is on top of the grace period).
 *
 * With INLINE the record holds the content, as that of a small blob does: it is published and collected in one step.
 *
 * With INDEX a collector takes down what the repository names, and believes it as long as the repository's marker is the
 * same: GarbageCollector.markRepositories, Registry.renewMarker. (deleteManifest renews the marker too, so that garbage
 * goes, which is not what is checked here.)
 *
 * Each of these breaks the protocol, and is there to show that the model would notice:
 *   NO_RENEWAL     require does not renew old leases
 *   NO_SWAP        retire writes, or deletes, unconditionally
 *   LATE_CUTOFF    the collector takes its time after the mark
 *   REUSED_DATA    a new upload takes the gone record's data id again
 *   NO_MARKER      a push does not renew the marker
 *   UNSETTLED      the collector takes down what it reads at a marker that somebody may yet rely on
 *   LATE_VERSION   the collector looks at the marker after it read the manifests
 */
#define GRACE 4
#define END 10                  /* the clock stops here */
/* How often each of two writers pushes; two runs with other numbers see more than one that has no end. */
#ifndef COLLECTORS
#define COLLECTORS 2
#endif
#ifndef PUSHES_A
#define PUSHES_A 1
#endif
#ifndef PUSHES_B
#define PUSHES_B 1
#endif
#define IDS 8

mtype = { absent, live, gone };

/* blobs/<digest>: changed by compare-and-swap only; its version counts changes. */
mtype state = absent;
byte data_id = 0;
byte lease = 0;
byte version = 0;

/* data/<id> */
bit data[IDS];
byte next_id = 1;

#ifdef INDEX
/* catalog/<repository>: its version counts renewals. */
byte changed = 0;
byte marker = 0;

/* collection/references: what was taken down of the repository, and of which version of its marker. */
bit taken = 0;
bit taken_marked = 0;
byte taken_marker = 0;
#endif

/* Manifests that name the digest, of acknowledged pushes. */
byte links = 0;

byte now = GRACE;               /* so that times before the start are not negative */
byte deadline[2];         /* until when a writer that is between require and join is done; 0: it is not */

#ifdef INLINE
#define whole (state == live)
#else
#define whole (state == live && data[data_id])
#endif

/* Nothing acknowledged is ever lost. */
active proctype Monitor() {
    end: atomic { links > 0 && !whole -> assert(false) }
}

active proctype Clock() {
    do
    :: atomic { now < END && (deadline[0] == 0 || now < deadline[0]) && (deadline[1] == 0 || now < deadline[1]) ->
           now++ }
    :: now == END -> break
    od
}

proctype Writer(byte me; byte pushes) {
    byte id, seen_lease, seen_version;
    mtype seen;
    bit holds;

again:
    /* What was read before is forgotten, so that states that differ by it alone are one. */
    atomic { id = 0; seen_lease = 0; seen_version = 0; seen = 0; holds = 0 }
    if
    :: pushes == 0 -> goto over
    :: else -> pushes--
    fi;

#ifndef INLINE
    /* BlobWriter.finish: the bytes are there, and nothing names them. */
    atomic { id = next_id; next_id++; assert(id < IDS); data[id] = 1 }
#endif

publish:
    atomic { seen = state; seen_version = version; holds = whole }
    atomic {
        if
        :: version != seen_version -> goto publish
        :: else ->
            version++; lease = now;
            if
            :: seen == live && holds -> state = live
#ifdef INLINE
            :: else -> state = live
#elif defined(REUSED_DATA)
            :: seen == gone -> state = live; data[data_id] = 1
            :: seen != gone && !(seen == live && holds) -> state = live; data_id = id
#else
            :: else -> state = live; data_id = id
#endif
            fi
        fi
    }
#ifndef INLINE
    /* StagedBlob.discard, if the old bytes are used. */
    if
    :: data_id != id -> data[id] = 0
    :: else -> skip
    fi;
#endif

    /* Time may pass between the blob's push and the manifest's. */
require:
    atomic { id = 0; seen = state; seen_lease = lease; seen_version = 0; holds = 0;
             deadline[me] = now + (3 * GRACE) / 4 }
    if
    :: seen != live -> deadline[me] = 0; goto again       /* MANIFEST_BLOB_UNKNOWN: push it again */
    :: else -> skip
    fi;
#ifndef NO_RENEWAL
    /* renewIfOld */
    if
    :: now - seen_lease < GRACE / 4 -> skip
    :: else ->
renew:
        atomic { seen = state; seen_version = version; holds = whole }
        if
        :: seen != live || !holds -> deadline[me] = 0; goto again
        :: else -> skip
        fi;
        atomic {
            if
            :: version != seen_version -> goto renew
            :: else -> version++; lease = now
            fi
        }
    fi;
#endif
#if defined(INDEX) && !defined(NO_MARKER)
renewMarker:
    atomic { seen_lease = changed; seen_version = marker }
    if
    :: now - seen_lease < GRACE / 4 -> skip
    :: else ->
        atomic {
            if
            :: marker != seen_version -> goto renewMarker
            :: else -> marker++; changed = now
            fi
        }
    fi;
#endif
    /* join: the membership is written, and the push acknowledged. */
    atomic { links++; deadline[me] = 0 }

    if
    :: skip                                               /* it stays */
    :: links-- ; goto again                               /* deleteManifest */
    fi;
over:
    skip
}

proctype Collector() {
    byte start, seen_id, seen_version, seen_lease;
    mtype seen;
    bit marked;
#ifdef INDEX
    bit settled;
#endif

#ifndef LATE_CUTOFF
        start = now;
#endif
#ifdef INDEX
        /* markRepositories */
        seen_version = marker;
        if
        :: taken && taken_marker == seen_version -> marked = taken_marked
        :: else ->
#ifdef UNSETTLED
            settled = true;
#else
            settled = (marker == seen_version && changed + GRACE < start);
#endif
            marked = (links > 0);
#ifdef LATE_VERSION
            seen_version = marker;
#endif
            if
            :: settled -> atomic { taken = true; taken_marked = marked; taken_marker = seen_version }
            :: else -> skip
            fi
        fi;
#else
        /* mark */
        marked = (links > 0);
#endif
#ifdef LATE_CUTOFF
        start = now;
#endif
        if
        :: marked -> skip
        :: else ->
            /* sweep: retire */
            atomic { seen = state; seen_id = data_id; seen_lease = lease; seen_version = version }
#ifdef INLINE
            if
            :: seen == live && seen_lease + GRACE < start ->
                atomic {                    /* forget */
                    if
#ifdef NO_SWAP
                    :: true -> state = absent; version++
#else
                    :: version == seen_version -> state = absent; version++
                    :: else -> skip
#endif
                    fi
                }
            :: else -> skip
            fi
#else
            if
            :: seen == live && seen_lease + GRACE < start ->
#ifdef NO_SWAP
                atomic { state = gone; version++; seen_version = version }
#else
                atomic {
                    if
                    :: version == seen_version -> state = gone; version++; seen_version = version
                    :: else -> goto next
                    fi
                }
#endif
            :: seen == gone -> skip         /* A crash left it, or another collector is not done with it. */
            :: else -> goto next
            fi;
            data[seen_id] = 0;              /* deleteData */
            atomic {                        /* forget */
                if
                :: version == seen_version -> state = absent; version++
                :: else -> skip
                fi
            }
#endif
        fi;
next:   skip
}

init {
    atomic {
        run Writer(0, PUSHES_A); run Writer(1, PUSHES_B);
        run Collector();
#if COLLECTORS > 1
        run Collector()
#endif
    }
}
