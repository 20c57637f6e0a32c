// The least that taking a blob costs: receive, SHA-256, write, fsync, in one thread.
//
//     receive PORT SIZE FILE
//
// Takes SIZE bytes from the first connection, answers one byte when they are on the disk, and ends.
#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    long long left = atoll(argv[2]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)) fail("listen");
    int connection = accept(listener, NULL, NULL);
    if (connection < 0) fail("accept");
    int file = open(argv[3], O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (file < 0) fail("open");
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    static unsigned char buffer[256 << 10];
    while (left > 0) {
        ssize_t count = read(connection, buffer, sizeof buffer);
        if (count <= 0) fail("read");
        EVP_DigestUpdate(hash, buffer, count);
        for (ssize_t done = 0; done < count;) {
            ssize_t written = write(file, buffer + done, count - done);
            if (written < 0) fail("write");
            done += written;
        }
        left -= count;
    }
    if (fsync(file)) fail("fsync");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length;
    EVP_DigestFinal_ex(hash, digest, &length);
    if (write(connection, digest, 1) != 1) fail("answer");
    return 0;
}
