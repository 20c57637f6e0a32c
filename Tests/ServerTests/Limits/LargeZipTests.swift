import Foundation
import JSON
import OCI
import TestSupport
import Testing

extension ServerTests {
    @Suite("Zips of more than 4 GiB", .serialized, .sideBySide)
    struct LargeZipTests {
        /// Writes a zip with one entry of more than 4 GiB, as zip64 has it: a block that is compressed once and repeated,
        /// since each begins anew. It has some noise, so that the zip does not grow more than a zip may.
        private static let script = """
            import random, struct, sys, zlib
            blocks, noise = 4100, random.Random(1).randbytes(8192)
            block = noise + bytes((1 << 20) - len(noise))
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
            data = packed * blocks + b'\\x03\\x00'
            crc = 0
            for _ in range(blocks):
                crc = zlib.crc32(block, crc)
            extra = struct.pack('<HHQQ', 1, 16, blocks << 20, len(data))
            fields = struct.pack('<HHHHHLLLHH', 45, 0, 8, 0, 33, crc, 0xffffffff, 0xffffffff, 4, len(extra))
            with open(sys.argv[1], 'wb') as file:
                file.write(b'PK\\x03\\x04' + fields + b'zero' + extra + data)
                start = file.tell()
                file.write(b'PK\\x01\\x02' + struct.pack('<H', 0x32d) + fields
                    + struct.pack('<HHHLL', 0, 0, 0, 0o100644 << 16, 0) + b'zero' + extra)
                length = file.tell() - start
                file.write(b'PK\\x05\\x06' + struct.pack('<HHHHLLH', 0, 0, 1, 1, length, start, 0))
            """
        /// What its entry has.
        private static let size: Int64 = 4100 << 20

        @Test("They are taken as far as the limit of unpacked bytes allows, and leave nothing where it does not")
        func large() async throws {
            try await withTemporaryDirectory { directory in
                let file = directory + "/large.zip"
                try await runSuccessfully("python3", ["-c", Self.script, file])
                let zip = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
                for (limit, status) in [(Self.size, 201), (Self.size - 1, 413)] {
                    try await World.with(["--limits-unpacked-bytes", "\(limit)"]) { world in
                        for path in ["/packages/large", "/buildpacks/large"] {
                            let answer = try await world.client.send("PUT", path, as: "operator", body: zip)
                            #expect(answer.status == status, "\(path): \(answer.text)")
                            let there = try await world.client.get(path, as: "operator")
                            #expect(there.status == (status == 201 ? 200 : 404) && (status != 201 || there.body == zip))
                        }
                        #expect(world.store.unfinished() == [])
                    }
                }
            }
        }
    }
}
