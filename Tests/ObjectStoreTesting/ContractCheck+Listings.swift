import ObjectStore
import Testing

extension ContractCheck {
    /// Keys in the byte order of the whole key, which is not the order of their components.
    static let ordered = [
        "A", "a!", "a!b/x", "a", "a-b/x", "a-b/y", "a.b", "a/", "a/x", "a0", "aa", "b/1", "b/10", "b/2", "b/c/d/e",
        "b0/x",
        "é", "日/本",
    ]

    private static func fill(_ store: any ObjectStore) async throws -> [String] {
        // "a" is an object or a folder, not both; a key has no empty component.
        let keys = ordered.filter { $0 != "a" && $0 != "a/" }
        for (index, key) in keys.shuffled().enumerated() {
            try await store.put(key, "at \(key)")
            // Some are in the journal, some in the tree, some on the way.
            if index == keys.count / 2 { try await store.sync() }
        }
        return keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    static let listings: [ContractCheck] = [
        ContractCheck("A listing is in the byte order of the whole key") { store in
            let keys = try await fill(store)
            #expect(try await store.keys() == keys)
            try await store.sync()
            #expect(try await store.keys() == keys)
            try await store.deleteAll()
        },
        ContractCheck("A prefix is any beginning of a key") { store in
            let keys = try await fill(store)
            let prefixes = Set(
                keys.flatMap { key in key.indices.map { String(key[..<$0]) } + [key, key + "/", key + "x"] })
            for prefix in prefixes.sorted() + ["/", "//", "a//", "./", "../", "a/../", "nothing/", "\0"] {
                #expect(
                    try await store.keys(prefix) == keys.filter { $0.utf8.starts(with: prefix.utf8) },
                    "prefix \(prefix.debugDescription)")
            }
            try await store.deleteAll()
        },
        ContractCheck("A listing starts after any text, whether there is such a key or not") { store in
            let keys = try await fill(store)
            let texts = keys + keys.map { $0 + "/" } + keys.map { $0 + "\u{1}" } + keys.map { String($0.dropLast()) }
            for text in texts + ["", "/", "a", "a/", "b", "b/", "zzz", "\u{10ffff}"] {
                for prefix in ["", "a", "b/", "a-b/"] {
                    let expected = keys.filter {
                        text.utf8.lexicographicallyPrecedes($0.utf8) && $0.utf8.starts(with: prefix.utf8)
                    }
                    #expect(
                        try await store.keys(prefix, after: text) == expected,
                        "after \(text.debugDescription), prefix \(prefix.debugDescription)")
                }
            }
            try await store.deleteAll()
        },
        ContractCheck("Pages of any size give every key once") { store in
            let keys = try await fill(store)
            for limit in [1, 2, 3, 5, keys.count, keys.count + 1, .max] {
                var gathered: [String] = []
                while case let page = try await store.keys(after: gathered.last, limit: limit), !page.isEmpty {
                    #expect(page.count <= limit)
                    gathered += page
                }
                #expect(gathered == keys, "pages of \(limit)")
            }
            try await store.deleteAll()
        },
        ContractCheck("A listing follows every put and delete at once") { store in
            for number in 0..<10 { try await store.put("n/\(number)", "x") }
            try await store.sync()
            try await store.delete("n/3", "n/7")
            try await store.put("n/35", "new")
            try await store.put("n/4", "longer than before")
            let expected = ["n/0", "n/1", "n/2", "n/35", "n/4", "n/5", "n/6", "n/8", "n/9"]
            for _ in 0..<2 {
                #expect(try await store.keys("n/") == expected)
                #expect(try await store.keys("n/", after: "n/2", limit: 2) == ["n/35", "n/4"])
                #expect(try await store.list(prefix: "n/4", startAfter: nil, limit: 1).first?.size == 18)
                try await store.sync()
            }
            try await store.deleteAll()
        },
        ContractCheck("A listing of many keys pages through them all") { store in
            let keys = (0..<2500).map { "many/\($0 % 7)/" + String($0, radix: 36) }
            for key in keys { try await store.put(key, "x") }
            let sorted = keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
            for isSynced in [false, true] {
                var gathered: [String] = []
                while case let page = try await store.keys("many/", after: gathered.last, limit: 700), !page.isEmpty {
                    gathered += page
                }
                #expect(gathered == sorted, "synced: \(isSynced)")
                try await store.sync()
            }
            try await store.deleteAll()
        },
    ]

    static let components: [ContractCheck] = [
        ContractCheck("Components are the distinct names below a folder, objects and folders alike") { store in
            for key in ["f/a-b/x", "f/a/x", "f/a/y/z", "f/a.b", "f/b", "f/c/d/e", "g/x", "top"] {
                try await store.put(key, "x")
            }
            for _ in 0..<2 {
                #expect(try await components(of: store, below: "f/") == ["a", "a-b", "a.b", "b", "c"])
                #expect(try await components(of: store, below: "") == ["f", "g", "top"])
                #expect(try await components(of: store, below: "f/a/") == ["x", "y"])
                for none in ["f/b/", "no/", "../"] {
                    #expect(try await components(of: store, below: none) == [])
                }
                try await store.sync()
            }
            try await store.deleteAll()
        },
        ContractCheck("Pages of components, each begun after the last one of the page before, give every one once") {
            store in
            let names = ["a", "a-b", "a.b", "b", "c", "é"]
            for name in names { try await store.put("f/\(name)/x", "x") }
            for _ in 0..<2 {
                for limit in 1...names.count {
                    var gathered: [String] = []
                    while case let page = try await store.listComponents(
                        below: "f/", startAfter: gathered.last, limit: limit), !page.isEmpty
                    {
                        #expect(page.count <= limit)
                        gathered += page
                    }
                    #expect(gathered.sorted() == names.sorted(), "pages of \(limit)")
                }
                try await store.sync()
            }
            try await store.deleteAll()
        },
        ContractCheck("A folder is gone with its last object") { store in
            for key in ["f/a/x", "f/a/y", "f/b/x"] { try await store.put(key, "x") }
            try await store.sync()
            try await store.delete("f/a/x", "f/b/x")
            #expect(try await store.listComponents(below: "f/", startAfter: nil, limit: 10) == ["a"])
            try await store.delete("f/a/y")
            for _ in 0..<2 {
                #expect(try await store.listComponents(below: "f/", startAfter: nil, limit: 10) == [])
                #expect(try await store.listComponents(below: "", startAfter: nil, limit: 10) == [])
                try await store.sync()
            }
        },
        ContractCheck("Components are asked for below a prefix that ends with a slash") { store in
            await #expect(throws: ObjectStoreError.invalidKey("f")) {
                try await store.listComponents(below: "f", startAfter: nil, limit: 1)
            }
        },
    ]

    /// In no order: stores have their own.
    private static func components(of store: any ObjectStore, below prefix: String) async throws -> Set<String> {
        let found = try await store.listComponents(below: prefix, startAfter: nil, limit: 100)
        #expect(Set(found).count == found.count)
        return Set(found)
    }
}
