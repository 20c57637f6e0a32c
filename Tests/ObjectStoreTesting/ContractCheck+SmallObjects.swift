import ObjectStore
import Testing

extension ContractCheck {
    static let smallObjects: [ContractCheck] = [
        ContractCheck("What was put is what is got, its size and version included") { store in
            let version = try await store.put(key("a/b"), bytes("one"), if: .always)
            let object = try await store.get(key("a/b"))
            #expect(object.bytes == bytes("one"))
            #expect(object.info.key.text == "a/b")
            #expect(object.info.size == 3)
            #expect(object.info.version == version)
            #expect(try await store.head(key("a/b")) == object.info)
            #expect(try await store.list(prefix: "", startAfter: nil, limit: 10) == [object.info])
            try await store.delete("a/b")
        },
        ContractCheck("What is known of an object stays the same after a sync") { store in
            try await store.put("a", "one")
            let before = try await store.get(key("a"))
            try await store.sync()
            #expect(try await store.get(key("a")) == before)
            #expect(try await store.head(key("a")) == before.info)
            try await store.delete("a")
        },
        ContractCheck("A second put replaces the first, with another version and no earlier time") { store in
            let first = try await store.put(key("a"), bytes("one"), if: .always)
            let firstTime = try await store.head(key("a")).modified
            try await store.sync()
            let second = try await store.put(key("a"), bytes("two!"), if: .always)
            #expect(first != second)
            #expect(try await store.text("a") == "two!")
            #expect(try await store.head(key("a")).size == 4)
            #expect(try await store.head(key("a")).modified >= firstTime)
            try await store.delete("a")
        },
        ContractCheck("Bytes of the same length have another version too") { store in
            var versions: Set<ObjectVersion> = []
            for number in 0..<20 {
                versions.insert(try await store.put(key("a"), [UInt8(number)], if: .always))
                if number.isMultiple(of: 7) { try await store.sync() }
            }
            #expect(versions.count == 20)
            try await store.delete("a")
        },
        ContractCheck("An object may be empty") { store in
            try await store.put(key("empty"), [], if: .always)
            #expect(try await store.get(key("empty")).bytes == [])
            try await store.sync()
            #expect(try await store.head(key("empty")).size == 0)
            let reader = try await store.open(key("empty"))
            #expect(try await reader.read(at: 0, maximum: 10) == [])
            await reader.close()
            try await store.delete("empty")
        },
        ContractCheck("Every byte value survives") { store in
            let all = (0...255).map { UInt8($0) }
            try await store.put(key("bytes"), all, if: .always)
            #expect(try await store.get(key("bytes")).bytes == all)
            try await store.delete("bytes")
        },
        ContractCheck("The largest small object can be put and got, a larger one is refused") { store in
            let largest = [UInt8](repeating: 7, count: ObjectLimits.smallObject)
            try await store.put(key("large"), largest, if: .always)
            #expect(try await store.get(key("large")).bytes == largest)
            let larger = largest + [7]
            await #expect(throws: try ObjectStoreError.tooLarge(key("large"), size: Int64(larger.count))) {
                try await store.put(key("large"), larger, if: .always)
            }
            #expect(try await store.head(key("large")).size == ObjectLimits.smallObject)
            try await store.delete("large")
        },
        ContractCheck("What was never there is missing") { store in
            let missing = try ObjectStoreError.missing(key("no/such"))
            await #expect(throws: missing) { try await store.get(key("no/such")) }
            await #expect(throws: missing) { try await store.head(key("no/such")) }
            await #expect(throws: missing) { try await store.open(key("no/such")) }
        },
        ContractCheck("What was deleted is missing, before and after a sync") { store in
            try await store.put("a/b/c", "one")
            try await store.sync()
            try await store.delete("a/b/c")
            for _ in 0..<2 {
                await #expect(throws: try ObjectStoreError.missing(key("a/b/c"))) {
                    try await store.get(key("a/b/c"))
                }
                await #expect(throws: try ObjectStoreError.missing(key("a/b/c"))) {
                    try await store.head(key("a/b/c"))
                }
                await #expect(throws: try ObjectStoreError.missing(key("a/b/c"))) {
                    try await store.open(key("a/b/c"))
                }
                #expect(try await store.keys() == [])
                try await store.sync()
            }
        },
        ContractCheck("Removing what is not there is no error") { store in
            try await store.delete("nothing", "no/thing")
            try await store.put("a", "one")
            try await store.delete("a", "a")
        },
        ContractCheck("An object may come back after it was deleted, again and again") { store in
            for round in 0..<6 {
                try await store.put(key("a/b"), bytes("round \(round)"), if: .absent)
                if round.isMultiple(of: 2) { try await store.sync() }
                #expect(try await store.text("a/b") == "round \(round)")
                try await store.delete("a/b")
                if round.isMultiple(of: 3) { try await store.sync() }
                #expect(try await store.keys() == [])
            }
        },
        ContractCheck("A sync with nothing to do returns") { store in
            try await store.sync()
            try await store.sync()
        },
        ContractCheck("A store gives a URL for an object if and only if it says so") { store in
            try await store.put("a", "one")
            let url = try await store.presignedURL(for: key("a"), lifetime: .seconds(60))
            #expect((url != nil) == store.capabilities.presign)
            try await store.delete("a")
        },
    ]
}
