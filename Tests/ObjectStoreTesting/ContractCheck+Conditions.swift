import ObjectStore
import Testing

extension ContractCheck {
    static let conditions: [ContractCheck] = [
        ContractCheck("A put that wants the object absent finds it there") { store in
            try await store.put(key("a"), bytes("one"), if: .absent)
            for _ in 0..<2 {
                await #expect(throws: try ObjectStoreError.exists(key("a"))) {
                    try await store.put(key("a"), bytes("two"), if: .absent)
                }
                #expect(try await store.text("a") == "one")
                try await store.sync()
            }
            try await store.delete("a")
        },
        ContractCheck("A put over a version happens only over that version") { store in
            let first = try await store.put(key("a"), bytes("one"), if: .always)
            try await store.sync()
            let second = try await store.put(key("a"), bytes("two"), if: .version(first))
            await #expect(throws: try ObjectStoreError.changed(key("a"))) {
                try await store.put(key("a"), bytes("three"), if: .version(first))
            }
            #expect(try await store.text("a") == "two")
            try await store.sync()
            await #expect(throws: try ObjectStoreError.changed(key("a"))) {
                try await store.put(key("a"), bytes("three"), if: .version(first))
            }
            try await store.put(key("a"), bytes("three"), if: .version(second))
            #expect(try await store.text("a") == "three")
            try await store.delete("a")
        },
        ContractCheck("A put over a version of an object that is gone finds it missing") { store in
            let version = try await store.put(key("a"), bytes("one"), if: .always)
            try await store.delete("a")
            await #expect(throws: try ObjectStoreError.missing(key("a"))) {
                try await store.put(key("a"), bytes("two"), if: .version(version))
            }
            #expect(try await store.keys() == [])
        },
        ContractCheck("A delete of a version removes only that version") { store in
            let first = try await store.put(key("a"), bytes("one"), if: .always)
            let second = try await store.put(key("a"), bytes("two"), if: .always)
            for _ in 0..<2 {
                await #expect(throws: try ObjectStoreError.changed(key("a"))) {
                    try await store.delete(key("a"), ifVersion: first)
                }
                #expect(try await store.text("a") == "two")
                try await store.sync()
            }
            try await store.delete(key("a"), ifVersion: second)
            await #expect(throws: try ObjectStoreError.missing(key("a"))) {
                try await store.delete(key("a"), ifVersion: second)
            }
        },
        ContractCheck("Versions that get, head, list, open and a writer give are the same and can be put over") {
            store in
            let streamed = try await store.stream("a/streamed", bytes("some bytes"))
            try await store.put("a/put", "one")
            for name in ["a/put", "a/streamed"] {
                let got = try await store.get(key(name)).info
                let reader = try await store.open(key(name))
                #expect(reader.info == got)
                await reader.close()
                #expect(try await store.head(key(name)) == got)
                #expect(try await store.list(prefix: name, startAfter: nil, limit: 1) == [got])
                if name == "a/streamed" { #expect(streamed == got) }
                try await store.put(key(name), bytes("two"), if: .version(got.version))
            }
            #expect(try await store.text("a/streamed") == "two")
            try await store.delete("a/put", "a/streamed")
        },
        ContractCheck("A version of one object is no version of another") { store in
            let version = try await store.put(key("a"), bytes("one"), if: .always)
            try await store.put("b", "another")
            await #expect(throws: try ObjectStoreError.changed(key("b"))) {
                try await store.put(key("b"), bytes("two"), if: .version(version))
            }
            try await store.delete("a", "b")
        },
    ]
}
