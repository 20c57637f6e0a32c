// How the predecessor made a layer, in plain C: it unpacked the droplet's gzip with zlib, moved each name below
// home/vcap/, hashed the tar, kept it in a file and copied that into its blob store. Nothing was compressed again.
//
//   gcc -O2 -o predecessor predecessor.c -lz -lcrypto && ./predecessor droplet.tgz DIRECTORY
#define OPENSSL_SUPPRESS_DEPRECATED
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 512, NAME = 100, COPY = 64 << 10 };

static const char prefix[] = "home/vcap/";
static SHA256_CTX digest;
static int file;

static void put(const void *bytes, size_t count) {
    SHA256_Update(&digest, bytes, count);
    if (write(file, bytes, count) != (ssize_t)count) exit(4);
}

static void seal(unsigned char *header) {
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++) sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

// GNU tar's way to write a name that does not fit: an entry of type L with the name as its content.
static void put_long(const char *name) {
    unsigned char header[BLOCK] = "././@LongLink", padding[BLOCK] = {0};
    size_t size = strlen(name) + 1;
    memcpy(header + 100, "0000644", 8);
    snprintf((char *)header + 124, 12, "%011o", (unsigned)size);
    header[156] = 'L';
    memcpy(header + 257, "ustar  ", 8);
    seal(header);
    put(header, BLOCK);
    put(name, size);
    put(padding, (BLOCK - size % BLOCK) % BLOCK);
}

static void take(gzFile input, void *bytes, size_t count) {
    if (gzread(input, bytes, count) != (int)count) exit(5);
}

int main(int count, char **arguments) {
    if (count < 3 || chdir(arguments[2]) != 0) return 2;
    gzFile input = gzopen(arguments[1], "rb");
    file = open("layer", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!input || file < 0) return 2;
    gzbuffer(input, COPY);
    SHA256_Init(&digest);
    static unsigned char header[BLOCK], bytes[COPY], zeros[2 * BLOCK];
    char *kept = NULL;
    while (gzread(input, header, BLOCK) == BLOCK && header[0]) {
        size_t size = strtoull((char *)header + 124, NULL, 8), padded = (size + BLOCK - 1) / BLOCK * BLOCK;
        if (header[156] == 'L') {
            kept = calloc(1, padded + 1);
            take(input, kept, padded);
            continue;
        }
        char shortName[NAME + 1] = {0}, *name = kept ? kept : memcpy(shortName, header, NAME);
        if (strncmp(name, "./", 2) == 0) name += 2;
        char *moved = malloc(sizeof prefix + strlen(name));
        strcat(strcpy(moved, prefix), name);
        if (strlen(moved) > NAME) put_long(moved);
        strncpy((char *)header, moved, NAME);
        seal(header);
        put(header, BLOCK);
        free(moved);
        free(kept);
        kept = NULL;
        for (size_t left = padded; left > 0;) {
            size_t piece = left < COPY ? left : COPY;
            take(input, bytes, piece);
            put(bytes, piece);
            left -= piece;
        }
    }
    put(zeros, sizeof zeros);
    unsigned char result[SHA256_DIGEST_LENGTH];
    SHA256_Final(result, &digest);

    int copy = open("blob", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (copy < 0 || lseek(file, 0, SEEK_SET) != 0) return 2;
    for (ssize_t piece; (piece = read(file, bytes, COPY)) > 0;)
        if (write(copy, bytes, piece) != piece) return 4;
    return 0;
}
