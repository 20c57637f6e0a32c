import Archive
import Layers
import OCI

/// A layer in memory.
struct MemoryLayer: LayerSource {
    let stored: [UInt8]
    var diffID: Digest?

    init(_ stored: [UInt8], diffID: Digest? = nil) {
        self.stored = stored
        self.diffID = diffID
    }

    func bytes() -> Chunks { Chunks(stored) }
}

/// A delta as it was stored, and what checking it has found.
struct MadeDelta {
    let stored: [UInt8]
    let written: WrittenDelta<Digest>
    let differences: TreeDifferences

    var layer: MemoryLayer { MemoryLayer(stored, diffID: written.layer.diffID) }
    var tar: [UInt8] { get throws { try decompressed(stored) } }

    /// `NAME kind mode`, in the layer's order.
    var listing: [String] {
        get throws {
            try entries(of: tar).map {
                "\(String(decoding: $0.name, as: UTF8.self)) \($0.kind) \(String($0.mode, radix: 8))"
            }
        }
    }

    init(from old: [MemoryLayer], to new: [MemoryLayer], _ settings: DeltaSettings = DeltaSettings()) async throws {
        let sink = MemorySink()
        let plan = try DeltaPlan(
            from: try await FileTree(reading: old), to: try await FileTree(reading: new), settings: settings)
        written = try await plan.write(reading: new, to: sink)
        stored = sink.bytes(written.layer.stored)
        differences = try await plan.differences(
            applying: MemoryLayer(stored, diffID: written.layer.diffID))
    }

    init(from old: SampleTree, to new: SampleTree, _ settings: DeltaSettings = DeltaSettings()) async throws {
        var random = SplitMix(state: 0)
        try await self.init(
            from: [MemoryLayer(old.tar(&random))], to: [MemoryLayer(new.tar(&random))], settings)
    }
}
