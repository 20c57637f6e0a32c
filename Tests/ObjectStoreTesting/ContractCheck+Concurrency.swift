import ObjectStore
import Testing

extension ContractCheck {
    static let concurrency: [ContractCheck] = [
        ContractCheck("Of many puts that want the object absent one wins") { store in
            for round in 0..<10 {
                let winners = try await Self.winners(of: 8) { number in
                    try await store.put(key("a/b"), [UInt8(number)], if: .absent)
                }
                #expect(winners.count == 1, "round \(round)")
                #expect(try await store.get(key("a/b")).bytes == winners.map(UInt8.init))
                try await store.delete("a/b")
            }
        },
        ContractCheck("Of many puts over one version one wins") { store in
            var version = try await store.put(key("a"), [255], if: .always)
            for round in 0..<10 {
                if round.isMultiple(of: 3) { try await store.sync() }
                let current = version
                let winners = try await Self.winners(of: 8) { number in
                    try await store.put(key("a"), [UInt8(number)], if: .version(current))
                }
                #expect(winners.count == 1, "round \(round)")
                let object = try await store.get(key("a"))
                #expect(object.bytes == winners.map(UInt8.init))
                version = object.info.version
            }
            try await store.delete("a")
        },
        ContractCheck("Of many deletes of one version one wins") { store in
            let version = try await store.put(key("a"), bytes("one"), if: .always)
            let winners = try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do {
                            try await store.delete(key("a"), ifVersion: version)
                            return true
                        } catch ObjectStoreError.missing {
                            return false
                        }
                    }
                }
                return try await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(winners == 1)
        },
        ContractCheck("A counter that many raise by compare-and-swap loses nothing") { store in
            try await store.put("counter", "0")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<6 {
                    group.addTask {
                        var raised = 0
                        while raised < 20 {
                            let object = try await store.get(key("counter"))
                            let value = Int(String(decoding: object.bytes, as: UTF8.self)) ?? -1000
                            let isMine = try await succeeds {
                                try await store.put(
                                    key("counter"), bytes("\(value + 1)"), if: .version(object.info.version))
                            }
                            if isMine { raised += 1 }
                            if raised == 10 { try await store.sync() }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await store.text("counter") == "120")
            try await store.delete("counter")
        },
        ContractCheck("Readers see old bytes or new ones, never a part") { store in
            let sizes = [1, 100_000, 3, 70_000]
            try await store.put(key("a"), [UInt8](repeating: 0, count: sizes[0]), if: .always)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for round in 1..<60 {
                        let size = sizes[round % sizes.count]
                        try await store.put(key("a"), [UInt8](repeating: UInt8(round), count: size), if: .always)
                        if round.isMultiple(of: 5) { try await store.sync() }
                    }
                }
                for _ in 0..<3 {
                    group.addTask {
                        var last = 0
                        while last < 59 {
                            let object = try await store.get(key("a"))
                            let value = Int(object.bytes.first ?? 0)
                            #expect(object.bytes.count == sizes[value % sizes.count])
                            #expect(object.bytes.allSatisfy { $0 == object.bytes[0] })
                            #expect(object.info.size == object.bytes.count)
                            #expect(value >= last, "an older object came back")
                            last = value
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await store.delete("a")
        },
        ContractCheck("A listing never misses a key that is there all the time") { store in
            let steady = (0..<50).map { "k/\($0)/steady" }
            for key in steady { try await store.put(key, "0") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for round in 0..<12 {
                        for key in steady { try await store.put(key, "\(round)") }
                        for number in 0..<50 { try await store.put("k/\(number)/comes", "x") }
                        try await store.sync()
                        for number in 0..<50 { try await store.delete("k/\(number)/comes") }
                    }
                }
                for _ in 0..<2 {
                    group.addTask {
                        for _ in 0..<25 {
                            let keys = try await store.keys("k/")
                            #expect(Set(steady).isSubset(of: keys))
                            #expect(Set(keys).count == keys.count)
                            let names = try await store.listComponents(below: "k/", startAfter: nil, limit: 100)
                            #expect(names.count == 50)
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await store.deleteAll()
        },
        ContractCheck("What was written before a call is seen by it, whoever wrote it") { store in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<4 {
                    group.addTask {
                        for number in 0..<25 {
                            let name = "t\(task)/\(number)"
                            if number.isMultiple(of: 5) {
                                _ = try await store.stream(name, bytes(name))
                            } else {
                                try await store.put(name, name)
                            }
                            #expect(try await store.text(name) == name)
                            #expect(try await store.keys(name, limit: 1) == [name])
                            if number.isMultiple(of: 3) {
                                try await store.delete(name)
                                #expect(try await store.keys("\(name)", limit: 1) != [name])
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await store.deleteAll()
        },
    ]

    /// Which of several writes at once succeeded.
    private static func winners(
        of count: Int, _ write: @escaping @Sendable (Int) async throws -> Void
    ) async throws -> [Int] {
        try await withThrowingTaskGroup(of: Int?.self) { group in
            for number in 0..<count {
                group.addTask { try await succeeds { try await write(number) } ? number : nil }
            }
            return try await group.reduce(into: []) { if let winner = $1 { $0.append(winner) } }
        }
    }
}
