import Archive
import Foundation
import Layers
import OCI

// Converts a droplet or a root filesystem into a sink that throws everything away, and prints what it cost.
//
//   ConversionBench droplet.tgz [gzip|small|zstd|none] [single|split|rootfs] [chunk size in KiB]

struct Discard: LayerSink {
    struct Writer: LayerWriter {
        func write(_ bytes: [UInt8]) async throws {}
        func finish(digest: Digest, size: Int64) async throws {}
        func abort() async {}
    }
    func begin() async throws -> Writer { Writer() }
}

struct FileChunks: AsyncSequence, Sendable {
    typealias Element = [UInt8]
    let path: String
    let chunkSize: Int

    struct AsyncIterator: AsyncIteratorProtocol {
        let file: Int32
        let chunkSize: Int

        mutating func next() async throws -> [UInt8]? {
            let chunk = [UInt8](unsafeUninitializedCapacity: chunkSize) { buffer, count in
                count = Swift.max(0, read(file, buffer.baseAddress, chunkSize))
            }
            if chunk.isEmpty { close(file) }
            return chunk.isEmpty ? nil : chunk
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(file: open(path, O_RDONLY), chunkSize: chunkSize) }
}

func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
}

func peakKiB() -> String {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    return status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }.map { String($0.dropFirst(6)) } ?? "?"
}

let arguments = CommandLine.arguments
guard arguments.count > 1 else {
    print("usage: ConversionBench FILE [gzip|small|zstd|none] [single|split|rootfs] [KiB]")
    exit(2)
}
let compression: CompressionFormat =
    switch arguments.count > 2 ? arguments[2] : "gzip" {
    case "zstd": .zstd
    case "none": .none
    default: .gzip
    }
let kind = arguments.count > 3 ? arguments[3] : "single"
let chunkSize = (arguments.count > 4 ? Int(arguments[4]) ?? 128 : 128) << 10
let input = FileChunks(path: arguments[1], chunkSize: chunkSize)
let level: CompressionLevel = arguments.count > 2 && arguments[2] == "small" ? .small : .fast
let settings = LayerSettings(compression: compression, level: level, mode: kind == "split" ? .split : .single)

let clock = ContinuousClock()
let start = clock.now
let cpuBefore = cpuSeconds()
var layers: [ConvertedLayer<Void>] = []
var summary: ConversionSummary
if kind == "rootfs" {
    let converted = try await convertRootfs(input, settings: settings, sink: Discard())
    (layers, summary) = ([converted.layer], converted.summary)
} else {
    let converted = try await convertDroplet(input, settings: settings, sink: Discard())
    (layers, summary) = (converted.layers, converted.summary)
}
let cpu = cpuSeconds() - cpuBefore
let elapsed = start.duration(to: clock.now)
let wall = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
let size = layers.reduce(0) { $0 + $1.size }
print(
    "\(size) bytes, cpu \((cpu * 1000).rounded() / 1000) s, wall \((wall * 1000).rounded() / 1000) s, "
        + "\(summary.entries) entries, peak\(peakKiB())")
for layer in layers { print("  \(layer.group) \(layer.digest) diffID \(layer.diffID) \(layer.uncompressedSize)") }
for (kind, count) in summary.notes.totals { print("  \(kind.rawValue): \(count)") }
