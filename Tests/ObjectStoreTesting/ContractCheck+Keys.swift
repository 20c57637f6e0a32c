import ObjectStore
import Testing

extension ContractCheck {
    /// Names that are files, options, patterns or Unicode puzzles elsewhere and just names here.
    static let nastyNames = [
        " ", "  lead", "trail ", "-rf", ".hidden", "...", "a..b", "~", "*", "?", "[a]", "%2e%2e", "%", "\\", "a\\b",
        "\"",
        "'", "$HOME", "`id`", "\n", "\r\n", "\t", "\u{1}", "\u{7f}", "\u{e9}", "e\u{301}", "\u{2028}", "日本語",
        "\u{301}x", "x\u{600}", "\u{200d}", "🧊",
        "CON",
        "lock", "tmp", "journal", "objects", "reserve", "A", "a", "\u{fffd}", "\u{ffff}", "\u{10ffff}",
        String(repeating: "n", count: 255),
    ]

    static let keys: [ContractCheck] = [
        ContractCheck("Nasty names are just names, each its own object") { store in
            for (index, name) in nastyNames.enumerated() {
                try await store.put(name, "top \(index)")
                try await store.put("folder/\(name)/leaf", "leaf \(index)")
                if index == nastyNames.count / 2 { try await store.sync() }
            }
            for (index, name) in nastyNames.enumerated() {
                #expect(try await store.text(name) == "top \(index)", "\(name.debugDescription)")
                #expect(try await store.text("folder/\(name)/leaf") == "leaf \(index)", "\(name.debugDescription)")
            }
            let keys = (nastyNames + nastyNames.map { "folder/\($0)/leaf" }).map(Array.init(utf8:))
            let sorted = keys.sorted { $0.lexicographicallyPrecedes($1) }
            for _ in 0..<2 {
                #expect(try await store.keys().map(Array.init(utf8:)) == sorted)
                try await store.sync()
            }
            try await store.deleteAll()
        },
        ContractCheck("Texts that are equal in Unicode but not in bytes are two keys") { store in
            try await store.put("caf\u{e9}", "composed")
            try await store.put("cafe\u{301}", "decomposed")
            #expect(try await store.text("caf\u{e9}") == "composed")
            #expect(try await store.text("cafe\u{301}") == "decomposed")
            try await store.delete("caf\u{e9}", "cafe\u{301}")
        },
        ContractCheck("A key of 1024 bytes works, deep or wide") { store in
            let deep = String(repeating: "d/", count: 511) + "dd"
            let wide = [255, 255, 255, 254, 1].map { String(repeating: "w", count: $0) }.joined(separator: "/")
            for text in [deep, wide] {
                #expect(text.utf8.count == 1024)
                let name = try key(text)
                try await store.put(name, bytes("x"), if: .always)
                try await store.sync()
                #expect(try await store.get(name).bytes == bytes("x"))
                #expect(try await store.keys() == [text])
                try await store.delete(name, ifVersion: nil)
            }
        },
        ContractCheck("Where an object was, a folder may be, and the other way round") { store in
            for synced in 0..<16 {
                func step(_ bit: Int) async throws { if synced & 1 << bit != 0 { try await store.sync() } }
                try await store.put("a", "object")
                try await step(0)
                try await store.delete("a")
                try await step(1)
                try await store.put("a/b/c", "in a folder")
                try await store.put("a/d", "in a folder")
                try await step(2)
                #expect(try await store.keys() == ["a/b/c", "a/d"])
                try await store.delete("a/b/c", "a/d")
                try await step(3)
                try await store.put("a", "object again")
                #expect(try await store.text("a") == "object again")
                #expect(try await store.keys() == ["a"])
                try await store.delete("a")
            }
        },
    ]

    /// For drivers over directories: of a key and one that continues it with `/` they take only one. Nobody else promises
    /// that, so it is not among `all`.
    public static let folders: [ContractCheck] = [
        ContractCheck("Below an object no other can be, however either is written") { store in
            for isSynced in [false, true] {
                try await store.put("a", "one")
                if isSynced { try await store.sync() }
                for below in ["a/b", "a/b/c"] {
                    await #expect(throws: ObjectStoreError.invalidKey(below)) { try await store.put(below, "two") }
                    await #expect(throws: ObjectStoreError.invalidKey(below)) {
                        try await store.put(key(below), bytes("two"), if: .absent)
                    }
                    await #expect(throws: ObjectStoreError.invalidKey(below)) {
                        _ = try await store.stream(below, bytes("two"))
                    }
                    await #expect(throws: try ObjectStoreError.missing(key(below))) { try await store.get(key(below)) }
                    try await store.delete(below)
                }
                #expect(try await store.keys() == ["a"])
                try await store.delete("a")
            }
        },
        ContractCheck("Above an object no other can be, however either is written") { store in
            for isSynced in [false, true] {
                try await store.put("a/b/c", "one")
                if isSynced { try await store.sync() }
                for above in ["a", "a/b"] {
                    await #expect(throws: ObjectStoreError.invalidKey(above)) { try await store.put(above, "two") }
                    await #expect(throws: ObjectStoreError.invalidKey(above)) {
                        _ = try await store.stream(above, bytes("two"))
                    }
                    await #expect(throws: try ObjectStoreError.missing(key(above))) { try await store.get(key(above)) }
                    await #expect(throws: try ObjectStoreError.missing(key(above))) { try await store.head(key(above)) }
                    await #expect(throws: try ObjectStoreError.missing(key(above))) { try await store.open(key(above)) }
                    try await store.delete(above)
                }
                #expect(try await store.keys() == ["a/b/c"])
                try await store.delete("a/b/c")
            }
        },
        ContractCheck("Of an object and one below it that are written at once one wins") { store in
            for round in 0..<20 {
                async let above = Self.succeeds { try await store.put(key("a"), bytes("above"), if: .absent) }
                async let below = Self.succeeds { try await store.put(key("a/b"), bytes("below"), if: .absent) }
                let won = try await [above, below]
                #expect(won.filter { $0 }.count == 1, "round \(round)")
                #expect(try await store.keys() == (won[0] ? ["a"] : ["a/b"]))
                try await store.delete("a", "a/b")
            }
        },
    ]

    /// Whether a write succeeded; `.exists`, `.changed` and `.invalidKey` mean that another one won.
    static func succeeds(_ write: () async throws -> Void) async throws -> Bool {
        do {
            try await write()
            return true
        } catch let error as ObjectStoreError {
            switch error {
            case .exists, .changed, .invalidKey: return false
            default: throw error
            }
        }
    }
}

extension [UInt8] {
    init(utf8 text: String) { self = Array(text.utf8) }
}
