import Archive

/// A droplet made of fixed bytes: everything a golden digest should cover.
enum SampleDroplet {
    /// Not random, and neither trivially compressible.
    static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SplitMix(state: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let word = generator.next()
            bytes +=
                word & 3 == 0
                ? Array("function(exports, require, module) { return \(word % 1000); }\n".utf8)
                : [
                    UInt8(truncatingIfNeeded: word >> 8), UInt8(truncatingIfNeeded: word >> 16) & 0x3f,
                ]
        }
        return Array(bytes[..<count])
    }

    static func make() -> [UInt8] {
        HandMadeTar.make { tar in
            tar.directory("./")
            tar.directory("./app/")
            tar.pax([("mtime", "1700000000.123456789")])
            tar.add(HandMadeTar.Header("./app/server.js"), content: noise(1_500_000, seed: 1))
            tar.file("./app/empty")
            tar.link("./app/current", to: "../deps/0/bin")
            tar.hardLink("./app/server2.js", to: "./app/server.js")
            tar.directory("./deps/", mode: "0000700")
            tar.directory("./deps/0/")
            tar.directory("./deps/0/bin/")
            tar.add(HandMadeTar.Header("./deps/0/bin/node"), content: noise(900_001, seed: 2))
            tar.directory("./deps/1/")
            tar.pax([("path", "./deps/1/" + String(repeating: "long/", count: 60) + "name")])
            tar.add(HandMadeTar.Header("x"), content: noise(70_000, seed: 3))
            tar.pax([
                ("GNU.sparse.size", "400000"), ("GNU.sparse.name", "./app/sparse"),
                ("GNU.sparse.map", "0,4096,300000,1000"),
            ])
            tar.add(HandMadeTar.Header("y"), content: noise(5096, seed: 4))
            tar.file("./staging_info.yml", "{\"start_command\":\"node server.js\"}")
        }
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
