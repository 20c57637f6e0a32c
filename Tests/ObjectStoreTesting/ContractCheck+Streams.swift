import ObjectStore
import Testing

extension ContractCheck {
    /// Bytes that differ everywhere, so that a part in the wrong place is seen.
    static func pattern(_ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    }

    static let streams: [ContractCheck] = [
        ContractCheck("A streamed object is visible, whole, once it is finished and not before") { store in
            let content = pattern(300_000)
            let writer = try await store.writer(for: key("s/one"))
            for start in stride(from: 0, to: content.count, by: 70_000) {
                try await writer.write(Array(content[start..<min(start + 70_000, content.count)]))
                await #expect(throws: try ObjectStoreError.missing(key("s/one"))) {
                    try await store.head(key("s/one"))
                }
                #expect(try await store.keys() == [])
            }
            let info = try await writer.finish()
            #expect(info.size == 300_000)
            #expect(info.key.text == "s/one")
            for _ in 0..<2 {
                #expect(try await store.head(key("s/one")) == info)
                #expect(try await store.get(key("s/one")).bytes == content)
                #expect(try await store.keys() == ["s/one"])
                try await store.sync()
            }
            try await store.delete("s/one")
            #expect(try await store.keys() == [])
        },
        ContractCheck("A streamed object may be empty") { store in
            let info = try await store.writer(for: key("s")).finish()
            #expect(info.size == 0)
            #expect(try await store.get(key("s")).bytes == [])
            try await store.delete("s")
        },
        ContractCheck("A streamed object over the small objects' limit is read through open") { store in
            let writer = try await store.writer(for: key("large"))
            let piece = pattern(1 << 20)
            for _ in 0..<9 { try await writer.write(piece) }
            let info = try await writer.finish()
            #expect(info.size == 9 << 20)
            await #expect(throws: try ObjectStoreError.tooLarge(key("large"), size: 9 << 20)) {
                try await store.get(key("large"))
            }
            let reader = try await store.open(key("large"))
            #expect(try await reader.read(at: 8 << 20, maximum: 1 << 20) == piece)
            await reader.close()
            #expect(try await store.head(key("large")) == info)
            try await store.delete("large")
        },
        ContractCheck("An aborted stream leaves nothing") { store in
            let writer = try await store.writer(for: key("s"))
            try await writer.write(bytes("some"))
            await writer.abort()
            await writer.abort()
            #expect(try await store.keys() == [])
            await #expect(throws: ObjectStoreError.self) { try await writer.write(bytes("more")) }
            await #expect(throws: ObjectStoreError.self) { _ = try await writer.finish() }
            try await store.put("s", "free")
            try await store.delete("s")
        },
        ContractCheck("A stream may rest between its parts, however often") { store in
            let content = pattern(900_000)
            for bounds in [[0, 0, 10, 10, 900_000], [300_000, 600_000], [899_999, 900_000, 900_000]] {
                let writer = try await store.writer(for: key("s"))
                var written = 0
                for end in bounds + [900_000] {
                    try await writer.write(Array(content[written..<end]))
                    try await writer.rest()
                    written = end
                }
                #expect(try await store.keys() == [])
                #expect(try await writer.finish().size == 900_000)
                #expect(try await store.get(key("s")).bytes == content)
                try await store.delete("s")
            }
        },
        ContractCheck("A stream that is aborted or dropped while it rests leaves nothing") { store in
            let aborted = try await store.writer(for: key("s"))
            try await aborted.write(bytes("some"))
            try await aborted.rest()
            await aborted.abort()
            do {
                let dropped = try await store.writer(for: key("t"))
                try await dropped.write(bytes("some"))
                try await dropped.rest()
            }
            #expect(try await store.keys() == [])
            await #expect(throws: ObjectStoreError.self) { _ = try await aborted.finish() }
        },
        ContractCheck("A dropped stream leaves nothing") { store in
            do {
                let writer = try await store.writer(for: key("s"))
                try await writer.write(bytes("some"))
            }
            #expect(try await store.keys() == [])
        },
        ContractCheck("A finished stream takes nothing more") { store in
            let writer = try await store.writer(for: key("s"))
            try await writer.write(bytes("some"))
            _ = try await writer.finish()
            await #expect(throws: ObjectStoreError.self) { try await writer.write(bytes("more")) }
            await #expect(throws: ObjectStoreError.self) { _ = try await writer.finish() }
            await writer.abort()
            #expect(try await store.text("s") == "some")
            try await store.delete("s")
        },
        ContractCheck("A stream to a key that is there is refused") { store in
            try await store.put("s", "there")
            for _ in 0..<2 {
                await #expect(throws: try ObjectStoreError.exists(key("s"))) {
                    _ = try await store.stream("s", bytes("streamed"))
                }
                #expect(try await store.text("s") == "there")
                try await store.sync()
            }
            try await store.delete("s")
        },
        ContractCheck("A stream whose key was written meanwhile fails and changes nothing") { store in
            let writer = try await store.writer(for: key("s"))
            try await writer.write(bytes("streamed"))
            try await store.put("s", "put")
            await #expect(throws: try ObjectStoreError.exists(key("s"))) { _ = try await writer.finish() }
            #expect(try await store.text("s") == "put")
            try await store.delete("s")
        },
        ContractCheck("Of many streams to one key one wins") { store in
            let winners = try await withThrowingTaskGroup(of: Int?.self) { group in
                for number in 0..<8 {
                    group.addTask {
                        let isWinner = try await succeeds { _ = try await store.stream("s", [UInt8(number)]) }
                        return isWinner ? number : nil
                    }
                }
                return try await group.reduce(into: [Int]()) { if let winner = $1 { $0.append(winner) } }
            }
            #expect(winners.count == 1)
            #expect(try await store.get(key("s")).bytes == winners.map(UInt8.init))
            try await store.delete("s")
        },
        ContractCheck("A streamed object can be put over and deleted like any other") { store in
            let first = try await store.stream("s", bytes("streamed"))
            let second = try await store.put(key("s"), bytes("put"), if: .version(first.version))
            #expect(try await store.text("s") == "put")
            try await store.sync()
            #expect(try await store.text("s") == "put")
            try await store.delete(key("s"), ifVersion: second)
            let third = try await store.stream("s", bytes("again"))
            #expect(third.version != first.version)
            #expect(try await store.text("s") == "again")
            try await store.delete(key("s"), ifVersion: third.version)
        },
        ContractCheck("Writers may end after the last one who knows the store") { store in
            let writer = try await store.writer(for: key("s"))
            try await writer.write(bytes("some"))
            let info = try await Task { try await writer.finish() }.value
            #expect(info.size == 4)
            try await store.delete("s")
        },
    ]
}
