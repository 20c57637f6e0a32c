import ObjectStore
import Testing

extension ContractCheck {
    static let readers: [ContractCheck] = [
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
            #expect(reader.fileDescriptor == nil)
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

    static let copies: [ContractCheck] = [
        ContractCheck("A copy is an object of its own") { store in
            for (name, content) in [("small", bytes("one")), ("large", pattern(200_000))] {
                _ = try await store.stream("from/\(name)", content)
                try await store.copy(key("from/\(name)"), to: key("to/\(name)"))
                #expect(try await store.get(key("to/\(name)")).bytes == content)
                try await store.put("from/\(name)", "changed")
                #expect(try await store.get(key("to/\(name)")).bytes == content)
                try await store.delete("from/\(name)")
                try await store.sync()
                #expect(try await store.get(key("to/\(name)")).bytes == content)
                #expect(try await store.head(key("to/\(name)")).size == content.count)
                try await store.delete("to/\(name)")
            }
        },
        ContractCheck("A copy of a put object is durable like a put") { store in
            let content = pattern(200_000)
            try await store.put(key("from"), content, if: .always)
            try await store.copy(key("from"), to: key("to/a"))
            try await store.sync()
            try await store.copy(key("from"), to: key("to/b"))
            try await store.delete("from")
            #expect(try await store.get(key("to/a")).bytes == content)
            #expect(try await store.get(key("to/b")).bytes == content)
            try await store.delete("to/a", "to/b")
        },
        ContractCheck("A copy needs a source and a target that is not there") { store in
            await #expect(throws: try ObjectStoreError.missing(key("from"))) {
                try await store.copy(key("from"), to: key("to"))
            }
            for content in [bytes("one"), pattern(200_000)] {
                try await store.put(key("from"), content, if: .always)
                try await store.put("to", "there")
                await #expect(throws: try ObjectStoreError.exists(key("to"))) {
                    try await store.copy(key("from"), to: key("to"))
                }
                await #expect(throws: try ObjectStoreError.exists(key("from"))) {
                    try await store.copy(key("from"), to: key("from"))
                }
                #expect(try await store.text("to") == "there")
                try await store.delete("from", "to")
            }
        },
    ]
}
