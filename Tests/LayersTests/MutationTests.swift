import Archive
import Foundation
import Layers
import OCI
import Testing

@Suite("Archives changed at random")
struct MutationTests {
    /// Every kind of header there is, in little space.
    static func seeds() throws -> [[UInt8]] {
        let shop = try Workshop()
        try shop.run(
            """
            mkdir -p t/app/sub t/deps/0; cd t; echo hello > app/a; ln app/a app/b; ln -s a app/c; : > app/empty
            echo long > app/$(printf 'n%.0s' {1..120}); truncate -s 200K app/holes
            for i in 1 2 3 4 5 6; do echo x | dd of=app/holes bs=1 seek=$((i * 30000)) conv=notrunc status=none; done
            fixed="--sort=name --mtime=@1700000000.25 --owner=vcap:2000 --group=vcap:2000 -b 1"
            pax="--format=posix --pax-option=exthdr.name=pax,delete=atime,delete=ctime"
            tar --format=gnu --sparse $fixed -cf ../0.tar .; tar $pax --sparse $fixed -cf ../1.tar .
            tar $pax --sparse --sparse-version=0.1 $fixed -cf ../2.tar .
            tar $pax --sparse --sparse-version=0.0 $fixed -cf ../3.tar .
            python3 -c 'import tarfile
            def fix(member):
                member.mtime = 1700000000.25; member.uid = 2000; member.uname = "é"; return member
            tarfile.open("../4.tar", "w", format=tarfile.PAX_FORMAT).add(".", filter=fix)'
            tar --format=v7 $fixed --exclude='n*' -cf ../5.tar app/a app/b app/c app/empty app/sub
            """)
        return try (0...5).map { try shop.read("\($0).tar") } + [SampleDroplet.make().suffix(90_000)]
    }

    /// Changes some bytes, mostly in headers, and often mends the checksums so that the change is looked at.
    static func mutate(_ seed: [UInt8], _ generator: inout SplitMix) -> [UInt8] {
        var bytes = seed
        let interesting: [UInt8] = [0, 1, 0x20, 0x2f, 0x30, 0x37, 0x38, 0x39, 0x3d, 0x7f, 0x80, 0xff, 0x0a, 0x2e]
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let block = Int.random(in: 0..<bytes.count / 512, using: &generator) * 512
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: bytes.removeSubrange(block..<block + 512)
            case 1: bytes.insert(contentsOf: bytes[block..<block + 512], at: block)
            case 2: bytes.removeLast(Int.random(in: 1..<1024, using: &generator))
            case 3:
                bytes[block + 156] =
                    Array("01234567LKxgSDMNV\u{0}".utf8).randomElement(using: &generator) ?? 0
            default:
                bytes[block + Int.random(in: 0..<512, using: &generator)] =
                    Bool.random(using: &generator)
                    ? interesting.randomElement(using: &generator) ?? 0 : UInt8.random(in: 0...255, using: &generator)
            }
            guard bytes.count >= 2048 else { return bytes }
            let header = block + 512 <= bytes.count ? block : 0
            if Int.random(in: 0..<4, using: &generator) > 0, bytes[header..<header + 512].contains(where: { $0 != 0 }) {
                var sealed = Array(bytes[header..<header + 512])
                HandMadeTar().seal(&sealed)
                bytes.replaceSubrange(header..<header + 512, with: sealed)
            }
        }
        return bytes
    }

    @Test("never crash, leave nothing behind, and give clean layers if they are taken", arguments: LayerMode.allCases)
    func converted(_ mode: LayerMode) async throws {
        var generator = SplitMix(state: mode == .single ? 1001 : 2002)
        var settings = LayerSettings(compression: .none, mode: mode)
        settings.limits.outputBytes = 8 << 20
        var taken = 0
        for seed in try Self.seeds() {
            for _ in 0..<60 {
                let sink = MemorySink()
                do {
                    let converted = try await convertDroplet(
                        Chunks(Self.mutate(seed, &generator), sizes: [100_000, 77]), settings: settings, sink: sink)
                    taken += 1
                    for layer in converted.layers {
                        let names = try entries(of: sink.bytes(layer.stored)).map {
                            String(decoding: $0.name, as: UTF8.self)
                        }
                        #expect(Set(names).count == names.count)
                        #expect(names.allSatisfy { $0 == "home/" || $0.hasPrefix("home/vcap/") })
                        #expect(!names.contains { $0.split(separator: "/").contains("..") })
                    }
                } catch is ConversionError {
                    #expect(sink.finishedLayers == 0)
                }
                #expect(sink.openWriters == 0)
            }
        }
        #expect(taken > 10)
    }

    @Test("are read by Python's tarfile in the same way, where they are taken at all")
    func agreement() async throws {
        let shop = try Workshop()
        var generator = SplitMix(state: 3003)
        var count = 0
        for seed in try Self.seeds() {
            for _ in 0..<200 {
                let tar = Self.mutate(seed, &generator)
                guard let found = try? entries(of: tar) else { continue }
                let lines = found.map { entry in
                    func hex(_ bytes: [UInt8]) -> String { bytes.map { String($0, radix: 16) }.joined(separator: ",") }
                    var name = entry.name
                    while name.last == UInt8(ascii: "/") { name.removeLast() }
                    return "\(hex(name)) \(hex(entry.linkName)) \(entry.size) \(entry.kind)"
                }
                try shop.write(tar, to: "\(count).tar")
                try shop.write(Array((lines.joined(separator: "\n") + "\n").utf8), to: "\(count).txt")
                count += 1
            }
        }
        #expect(count > 100)
        let differences = try shop.run(
            """
            python3 - <<'EOF'
            import tarfile, glob
            kinds = {b"1": "hardLink", b"2": "symbolicLink", b"3": "characterDevice", b"4": "blockDevice",
                     b"5": "directory", b"6": "fifo"}
            def hexes(text):
                return ",".join(format(b, "x") for b in text.encode("utf-8", "surrogateescape"))
            for path in sorted(glob.glob("*.tar")):
                ours = open(path[:-4] + ".txt").read().splitlines()
                theirs = []
                try:
                    members = tarfile.open(path, encoding="utf-8", errors="surrogateescape").getmembers()
                except tarfile.ReadError as error:
                    # A global header before nothing is an error to Python alone.
                    if str(error) != "end of file header":
                        print(path, "theirs:", error)
                    continue
                for m in members:
                    name = m.name.rstrip("/")
                    kind = kinds.get(m.type, "file")
                    if kind == "file" and m.name.endswith("/"):
                        kind = "directory"
                    link = m.linkname if kind in ("hardLink", "symbolicLink") else ""
                    theirs.append(f"{hexes(name)} {hexes(link)} {m.size if kind == 'file' else 0} {kind}")
                if ours != theirs:
                    for o, t in zip(ours + ["-"] * 9, theirs + ["-"]):
                        if o != t:
                            print(path, "\\n  ours  ", o, "\\n  theirs", t)
                            break
            EOF
            """)
        #expect(differences == "")
    }
}
