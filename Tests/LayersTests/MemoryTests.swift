import Archive
import Layers
import OCI
import Synchronization
import Testing

/// A budget that says how much of it was taken at most.
final class CountedMemory: Sendable {
    private struct State {
        var used = 0
        var peak = 0
    }

    private let bound: Int
    private let state = Mutex(State())

    init(_ bound: Int = .max) { self.bound = bound }

    var used: Int { state.withLock { $0.used } }
    var peak: Int { state.withLock { $0.peak } }

    var source: ArchiveMemory.Source {
        ArchiveMemory.Source { bytes in
            self.state.withLock { state in
                guard bytes <= self.bound - state.used else { return false }
                state.used += bytes
                state.peak = max(state.peak, state.used)
                return true
            }
        } give: { bytes in
            self.state.withLock { $0.used -= bytes }
        }
    }

    var memory: ArchiveMemory { ArchiveMemory([source]) }
}

@Suite("Memory of conversions")
struct MemoryTests {
    /// What can be made large in an archive.
    enum Growth: String, CaseIterable, CustomTestStringConvertible {
        case entries, missingParents, header, sparseMap, layers, window, file, folder, links

        var testDescription: String { rawValue }

        /// An archive in which this is large, and what is held for it at least, in bytes.
        var archive: (bytes: [UInt8], held: Int) {
            get throws {
                let name = (0..<37).map {
                    String(repeating: Character(Unicode.Scalar(97 + UInt8($0 % 26))), count: 100)
                }
                .joined(separator: "/")
                switch self {
                case .entries:
                    return (HandMadeTar.make { for index in 0..<5000 { $0.file("\(index)") } }, 5000 * 16)
                case .missingParents:
                    return (
                        HandMadeTar.make { tar in
                            for index in 0..<200 {
                                tar.pax([("path", "\(index)/\(name)/x")])
                                tar.file("x")
                            }
                        }, 200 * 38 * 1850
                    )
                case .header:
                    return (
                        HandMadeTar.make { tar in
                            tar.pax([("SCHILY.xattr.user.a", String(repeating: "a", count: 500_000))])
                            tar.file("x")
                        }, 1_000_000
                    )
                case .sparseMap:
                    let map = (0..<20_000).map { "\(2 * $0),1" }.joined(separator: ",")
                    return (
                        HandMadeTar.make { tar in
                            tar.pax([
                                ("GNU.sparse.size", "40000"), ("GNU.sparse.name", "s"), ("GNU.sparse.map", map),
                            ])
                            tar.add(HandMadeTar.Header("s"), content: [UInt8](repeating: 1, count: 20_000))
                        }, 20_000 * 32
                    )
                case .layers:
                    return (HandMadeTar.make { for index in 0..<20 { $0.file("deps/\(index)/x", "x") } }, 20 * 700_000)
                case .window:
                    return (
                        emptyFrame(windowLog: 26) + (try compressed(HandMadeTar.make { $0.file("a") }, .zstd)), 64 << 20
                    )
                case .file:
                    return (
                        HandMadeTar.make { tar in
                            tar.add(HandMadeTar.Header("watched"), content: [UInt8](repeating: 1, count: 1_000_000))
                        }, 1_000_000
                    )
                case .folder:
                    return (HandMadeTar.make { for index in 0..<1000 { $0.file("folder/\(index)", "x") } }, 100_000)
                case .links:
                    return (HandMadeTar.make { for index in 0..<5000 { $0.link("\(index)", to: "a") } }, 5000 * 100)
                }
            }
        }
    }

    private static func convert(_ growth: Growth, _ bytes: [UInt8], _ memory: CountedMemory) async throws {
        var settings = LayerSettings(mode: growth == .layers ? .split : .single)
        settings.limits.memory = memory.memory
        let sink = MemorySink()
        defer { #expect(sink.openWriters == 0) }
        switch growth {
        case .file, .folder, .links:
            let watch = RootfsWatch(files: ["watched": 1 << 20], folders: ["folder": 1 << 20])
            _ = try await convertRootfs(Chunks(bytes), settings: settings, watch: watch, sink: sink)
        default: _ = try await convertDroplet(Chunks(bytes), settings: settings, sink: sink)
        }
    }

    @Test(
        "is taken before it is used, for whatever an archive can make large, and given back", arguments: Growth.allCases
    )
    func growth(_ growth: Growth) async throws {
        let (bytes, held) = try growth.archive
        let plain = CountedMemory()
        try await Self.convert(.entries, HandMadeTar.make { $0.file("a") }, plain)
        #expect(plain.peak >= ConversionLimits.leastMemory(.gzip) && plain.used == 0)
        let memory = CountedMemory()
        try await Self.convert(growth, bytes, memory)
        #expect(memory.peak - plain.peak >= held && memory.used == 0)
        let less = CountedMemory(memory.peak - 1)
        let error = await #expect(throws: ConversionError.self) { try await Self.convert(growth, bytes, less) }
        #expect(error?.fault == .noMemory)
        #expect(less.used == 0)
    }

    @Test("of large headers is given back with the next entry")
    func headers() async throws {
        let memory = CountedMemory()
        let header = [("SCHILY.xattr.user.a", String(repeating: "a", count: 500_000))]
        func tar(_ count: Int) -> [UInt8] {
            HandMadeTar.make { tar in
                for index in 0..<count {
                    tar.pax(header)
                    tar.file("\(index)")
                }
            }
        }
        try await Self.convert(.header, tar(1), memory)
        let one = memory.peak
        try await Self.convert(.header, tar(10), memory)
        #expect(memory.peak == one)
    }

    @Test("comes from the next source where the first has none left")
    func sources() async throws {
        let (first, second) = (CountedMemory(1 << 20), CountedMemory())
        var settings = LayerSettings()
        settings.limits.memory = ArchiveMemory([first.source, second.source])
        let tar = HandMadeTar.make { $0.file("a") }
        _ = try await convertDroplet(Chunks(tar), settings: settings, sink: MemorySink())
        #expect(first.peak > 0 && second.peak > 0 && first.used == 0 && second.used == 0)
    }

    /// Two versions of a tree of many names.
    private static func layers(_ suffix: String) -> [MemoryLayer] {
        [
            MemoryLayer(
                HandMadeTar.make { tar in
                    for index in 0..<2000 { tar.file("folder/\(index)", suffix) }
                })
        ]
    }

    @Test("of file trees and deltas is counted")
    func trees() async throws {
        let (old, new) = (Self.layers("old"), Self.layers("new"))
        func delta(_ memory: CountedMemory) async throws {
            var settings = DeltaSettings()
            settings.limits.memory = memory.memory
            let plan = try DeltaPlan(
                from: try await FileTree(reading: old, limits: settings.limits),
                to: try await FileTree(reading: new, limits: settings.limits), settings: settings)
            let sink = MemorySink()
            let written = try await plan.write(reading: new, to: sink)
            let differences = try await plan.differences(
                applying: MemoryLayer(sink.bytes(written.layer.stored), diffID: written.layer.diffID))
            #expect(differences.isEmpty)
        }
        let memory = CountedMemory()
        try await delta(memory)
        // Three trees of 132 bytes a name and file.
        #expect(memory.peak > 3 * 2000 * 132 && memory.used == 0)
        let less = CountedMemory(memory.peak - 1)
        let error = await #expect(throws: ConversionError.self) { try await delta(less) }
        #expect(error?.fault == .noMemory && less.used == 0)
    }
}
