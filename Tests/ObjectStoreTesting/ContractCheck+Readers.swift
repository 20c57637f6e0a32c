import ObjectStore
import Testing

extension ContractCheck {
    public static let readers: [ContractCheck] = [
        ContractCheck("Any range can be read, as much of it as there is") { store in
            let content = pattern(10_000)
            try await store.put(key("put"), content, if: .always)
            _ = try await store.stream("streamed", content)
            for name in ["put", "streamed"] {
                for _ in 0..<2 {
                    let reader = try await store.open(key(name))
                    #expect(reader.info.size == 10_000)
                    for (offset, count) in [
                        (0, 10_000), (0, 1), (1, 1), (4095, 2), (9_999, 1), (9_999, 50), (5_000, 90_000),
                    ] {
                        #expect(
                            try await reader.read(at: Int64(offset), maximum: count)
                                == Array(content[offset...].prefix(count)), "\(count) at \(offset)")
                    }
                    #expect(try await reader.read(at: 10_000, maximum: 1) == [])
                    #expect(try await reader.read(at: .max, maximum: 1) == [])
                    #expect(try await reader.read(at: 9_999, maximum: .max) == [content[9_999]])
                    await reader.close()
                    try await store.sync()
                }
            }
            try await store.delete("put", "streamed")
        },
        ContractCheck("A range is streamed from its beginning to its end, as much of it as there is") { store in
            let content = pattern(700_000)
            try await store.put(key("put"), content, if: .always)
            _ = try await store.stream("streamed", content)
            for name in ["put", "streamed"] {
                let reader = try await store.open(key(name))
                for range in [0..<700_000, 0..<0, 5..<6, 255_999..<512_001, 699_999..<900_000, 800_000..<900_000] {
                    var read: [UInt8] = []
                    let pieces = reader.stream(Int64(range.lowerBound)..<Int64(range.upperBound)).makeAsyncIterator()
                    while let piece = try await pieces.next() {
                        #expect(!piece.isEmpty)
                        read += piece
                    }
                    #expect(read == Array(content[range.clamped(to: 0..<content.count)]), "\(range)")
                }
                await reader.close()
                await #expect(throws: ObjectStoreError.self) { _ = try await reader.bytes.makeAsyncIterator().next() }
            }
            try await store.delete("put", "streamed")
        },
        ContractCheck("Many objects are read at once, in the order in which they are asked for") { store in
            let keys = try (0..<40).map { try key("n/\($0)") }
            for (number, key) in keys.enumerated() where number % 3 != 0 {
                try await store.put(key, [UInt8(number)], if: .always)
            }
            let found = try await store.get(keys.reversed())
            let expected = (0..<40).reversed().map { $0 % 3 == 0 ? nil : [UInt8($0)] }
            #expect(found.map { $0?.bytes } == expected)
            #expect(try await store.get([]).isEmpty)
            try await store.deleteAll()
        },
        ContractCheck("What was opened stays readable when it is replaced or deleted") { store in
            let content = pattern(5_000)
            for name in ["put", "streamed"] {
                for isSynced in [false, true] {
                    if name == "put" {
                        try await store.put(key(name), content, if: .always)
                    } else {
                        _ = try await store.stream(name, content)
                    }
                    if isSynced { try await store.sync() }
                    let replaced = try await store.open(key(name))
                    try await store.put(name, "new")
                    let deleted = try await store.open(key(name))
                    try await store.delete(name)
                    try await store.sync()
                    #expect(try await replaced.read(at: 0, maximum: 9_000) == content)
                    #expect(replaced.info.size == 5_000)
                    #expect(try await deleted.read(at: 0, maximum: 10) == bytes("new"))
                    await replaced.close()
                    await deleted.close()
                }
            }
        },
        ContractCheck("A closed reader reads nothing more, and closing it again does nothing") { store in
            try await store.put("a", "one")
            try await store.sync()
            let reader = try await store.open(key("a"))
            await reader.close()
            await reader.close()
            #expect((reader as? any FileBackedReader)?.fileDescriptor == nil)
            await #expect(throws: ObjectStoreError.self) { _ = try await reader.read(at: 0, maximum: 1) }
            try await store.delete("a")
        },
        ContractCheck("Many readers of one object do not disturb each other") { store in
            let content = pattern(100_000)
            _ = try await store.stream("shared", content)
            let reader = try await store.open(key("shared"))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for start in 0..<20 {
                    group.addTask {
                        let read = try await reader.read(at: Int64(start * 5_000), maximum: 5_000)
                        #expect(read == Array(content[start * 5_000..<start * 5_000 + 5_000]))
                    }
                }
                try await group.waitForAll()
            }
            await reader.close()
            try await store.delete("shared")
        },
    ]
}
