import Archive
import Layers
import OCI
import Testing

@Suite("Deltas between random trees")
struct DeltaPropertyTests {
    @Test("turn one tree into the next, over chains of deltas too", arguments: 0..<30)
    func random(seed: UInt64) async throws {
        var random = SplitMix(state: seed &* 7919)
        var tree = SampleTree()
        tree.shake(30, &random)
        var chain = [MemoryLayer(tree.tar(&random))]
        for step in 0..<10 {
            let before = tree
            tree.shake([1, 2, 5, 15, 40].randomElement(using: &random) ?? 1, &random)
            let whole = MemoryLayer(try compressed(tree.tar(&random), .zstd))
            let delta = try await MadeDelta(from: chain, to: [whole])
            #expect(delta.differences.isEmpty, "\(seed)/\(step): \(delta.differences.told)")
            chain.append(delta.layer)
            let applied = try SampleTree(layers: chain.map { try decompressed($0.stored) })
            try #require(applied.seen == tree.seen, "\(seed)/\(step)")
            if before.seen == tree.seen { #expect(try delta.listing == []) }

            // The same tree stored as a chain is the same tree.
            let back = try await MadeDelta(from: [whole], to: chain)
            #expect(back.differences.isEmpty && back.written.changed == 0 && back.written.gone == 0)
            if chain.count > 4 { chain = [whole] }
        }
    }

    @Test("are minimal: a name that did not change is only in them for a file that it shares, or for what lies in it")
    func minimal() async throws {
        for seed in 0..<60 {
            var random = SplitMix(state: UInt64(seed) + 1_000_000)
            var old = SampleTree()
            old.shake(60, &random)
            var new = old
            new.shake(4, &random)
            let delta = try await MadeDelta(from: old, to: new)
            let (before, after) = (old.seen, new.seen)
            let changed = Set(after.filter { before[$0.key]?.file != $0.value.file }.keys)
            let gone = Set(before.keys).subtracting(after.keys)
            let names = try entries(of: delta.tar).map { entry in
                entry.name.last == UInt8(ascii: "/") ? Array(entry.name.dropLast()) : entry.name
            }
            for name in names {
                let isWhiteout =
                    name.split(separator: UInt8(ascii: "/")).last?.starts(with: Array(".wh.".utf8)) ?? false
                let isAbove = changed.union(gone).contains { $0.starts(with: name + [UInt8(ascii: "/")]) }
                let isLinked =
                    before[name]?.firstName != after[name]?.firstName
                    || after.values.count { $0.firstName == after[name]?.firstName } > 1
                    || before.values.count { $0.firstName == before[name]?.firstName } > 1
                let isAboveLinked = after[name]?.file.isDirectory ?? false
                #expect(
                    isWhiteout || changed.contains(name) || isAbove || isLinked || isAboveLinked,
                    "\(seed): \(String(decoding: name, as: UTF8.self))")
            }
        }
    }

    @Test("are found out when a bit of them, or a whole entry, is another", arguments: 0..<12)
    func damaged(seed: UInt64) async throws {
        var random = SplitMix(state: seed)
        var old = SampleTree()
        old.shake(40, &random)
        var new = old
        new.shake(20, &random)
        try #require(old.seen != new.seen)
        let oldLayer = MemoryLayer(old.tar(&random))
        let newLayer = MemoryLayer(new.tar(&random))
        let delta = try await MadeDelta(from: [oldLayer], to: [newLayer])
        let plan = try DeltaPlan(
            from: try await FileTree(reading: [oldLayer]), to: try await FileTree(reading: [newLayer]),
            settings: DeltaSettings())
        let all = try SampleTree.entries(try delta.tar)
        var found = 0
        for left in all.indices {
            // Without the first of a file's names the others have nothing to link to: that is an error of its own.
            var tar: [UInt8] = []
            for (index, (entry, content)) in all.enumerated() where index != left {
                TarWriter.append(entry, to: &tar)
                tar += content + [UInt8](repeating: 0, count: TarWriter.padding(entry.size))
            }
            tar += [UInt8](repeating: 0, count: TarWriter.endLength)
            let isSame = try? SampleTree(layers: [oldLayer.stored, tar]).seen == new.seen
            let differences = try? await plan.differences(applying: MemoryLayer(tar))
            #expect(differences == nil || differences?.isEmpty == isSame, "\(seed): entry \(left)")
            if differences?.isEmpty == false { found += 1 }
        }
        #expect(found > 0, "\(seed): what is left out is missed")
        await #expect(throws: ConversionError.self) {
            try await plan.differences(applying: MemoryLayer(delta.stored, diffID: Digest.of([])))
        }
    }
}
