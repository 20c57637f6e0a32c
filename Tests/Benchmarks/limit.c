// The limit that a conversion is measured against: what the same bytes cost in plain C with nothing in between.
// ISA-L inflate, SHA-256 of the tar, ISA-L deflate level 1, SHA-256 of the compressed bytes, in one thread.
//
//   gcc -O2 -o limit limit.c -lisal -lcrypto && ./limit droplet.tgz [piece size in KiB]
//
// Prints one line: bytes out, CPU seconds (user + system), wall seconds, and the seconds of each part.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { INPUT = 256 << 10, OUTPUT = 1 << 20 };

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double inflating, hashing, deflating, digesting;

static double since(double *total, double from) {
    double to = now(CLOCK_MONOTONIC);
    *total += to - from;
    return to;
}

static SHA256_CTX diff_id, digest;
static struct isal_zstream deflater;
static unsigned char *compressed;
static unsigned long long bytes_out;

static void compress_piece(unsigned char *bytes, size_t count, int last) {
    deflater.next_in = bytes;
    deflater.avail_in = count;
    deflater.end_of_stream = last;
    do {
        double t = now(CLOCK_MONOTONIC);
        deflater.next_out = compressed;
        deflater.avail_out = OUTPUT;
        if (isal_deflate(&deflater) != COMP_OK) exit(3);
        t = since(&deflating, t);
        size_t made = OUTPUT - deflater.avail_out;
        SHA256_Update(&digest, compressed, made);
        bytes_out += made;
        since(&digesting, t);
    } while (deflater.avail_in > 0 || deflater.avail_out == 0);
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    size_t piece = (count > 2 ? atoi(arguments[2]) : 256) * 1024;
    int file = open(arguments[1], O_RDONLY);
    if (file < 0) return 2;
    unsigned char *input = malloc(INPUT), *plain = malloc(piece);
    compressed = malloc(OUTPUT);
    struct inflate_state *inflater = malloc(sizeof *inflater);
    isal_inflate_init(inflater);
    inflater->crc_flag = ISAL_GZIP;
    isal_deflate_init(&deflater);
    deflater.level = 1;
    deflater.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    deflater.level_buf = malloc(ISAL_DEF_LVL1_DEFAULT);
    deflater.gzip_flag = IGZIP_GZIP;
    SHA256_Init(&diff_id);
    SHA256_Init(&digest);

    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    int end = 0;
    inflater->avail_in = 0;
    while (!end) {
        inflater->next_out = plain;
        inflater->avail_out = piece;
        while (inflater->avail_out > 0 && !end) {
            if (inflater->avail_in == 0) {
                ssize_t got = read(file, input, INPUT);
                if (got <= 0) return 4;
                inflater->next_in = input;
                inflater->avail_in = got;
            }
            double t = now(CLOCK_MONOTONIC);
            if (isal_inflate(inflater) != ISAL_DECOMP_OK) return 5;
            since(&inflating, t);
            end = inflater->block_state == ISAL_BLOCK_FINISH;
        }
        size_t made = piece - inflater->avail_out;
        double t = now(CLOCK_MONOTONIC);
        SHA256_Update(&diff_id, plain, made);
        since(&hashing, t);
        compress_piece(plain, made, end);
    }
    unsigned char result[32];
    SHA256_Final(result, &diff_id);
    SHA256_Final(result, &digest);
    printf("%llu bytes, cpu %.3f s, wall %.3f s (inflate %.3f, sha256 %.3f, deflate %.3f, sha256 %.3f)\n", bytes_out,
           now(CLOCK_PROCESS_CPUTIME_ID) - cpu, now(CLOCK_MONOTONIC) - wall, inflating, hashing, deflating, digesting);
    return 0;
}
