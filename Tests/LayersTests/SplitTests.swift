import Archive
import Layers
import OCI
import Testing

@Suite("Split droplets")
struct SplitTests {
    static func droplet(app: String, directoryTime: String, dependencyTime: String = "14541300000") -> [UInt8] {
        HandMadeTar.make { tar in
            func directory(_ name: String) {
                var header = HandMadeTar.Header(name, type: "5")
                header.mode = "0000755"
                header.mtime = directoryTime
                tar.add(header)
            }
            directory("./")
            directory("./app")
            tar.file("./app/index.html", app)
            directory("./deps")
            directory("./deps/0")
            directory("./deps/0/bin")
            var header = HandMadeTar.Header("./deps/0/bin/node")
            header.mtime = dependencyTime
            tar.add(header, content: SampleDroplet.noise(100_000, seed: 7))
        }
    }

    @Test("share the layer of the same deps/0, though directories have other times")
    func sharing() async throws {
        let settings = LayerSettings(mode: .split)
        let one = try await convertDroplet(
            Chunks(Self.droplet(app: "one", directoryTime: "14541300000")), settings: settings, sink: MemorySink())
        let two = try await convertDroplet(
            Chunks(Self.droplet(app: "two", directoryTime: "14541300777")), settings: settings, sink: MemorySink())
        #expect(one.layers[0].group == .dependency(index: "0"))
        #expect(one.layers[0].digest == two.layers[0].digest)
        #expect(one.layers[0].diffID == two.layers[0].diffID)
        #expect(one.layers[1].diffID != two.layers[1].diffID)
    }

    @Test("keep the times of files in deps, which do make a difference")
    func fileTimes() async throws {
        let settings = LayerSettings(mode: .split)
        let one = try await convertDroplet(
            Chunks(Self.droplet(app: "one", directoryTime: "14541300000")), settings: settings, sink: MemorySink())
        let two = try await convertDroplet(
            Chunks(Self.droplet(app: "one", directoryTime: "14541300000", dependencyTime: "14541300001")),
            settings: settings, sink: MemorySink())
        #expect(one.layers[0].diffID != two.layers[0].diffID)
    }

    @Test("have layers in the order of their indexes, each with the directories above it")
    func order() async throws {
        let tar = HandMadeTar.make { tar in
            for index in ["10", "2", "0", "x", "007"] { tar.file("deps/\(index)/file", index) }
            tar.link("deps/current", to: "0")
            tar.file("deps/3")
            tar.file("app/x")
            tar.file("deps/2/more")
        }
        let sink = MemorySink()
        let converted = try await convertDroplet(Chunks(tar), settings: LayerSettings(mode: .split), sink: sink)
        let groups = converted.layers.map(\.group)
        #expect(groups == ["0", "2", "10", "007"].map { .dependency(index: $0) } + [.rest])
        let two = try entries(of: decompressed(sink.bytes(converted.layers[1].stored)))
        #expect(
            two.map { String(decoding: $0.name, as: UTF8.self) } == [
                "home/", "home/vcap/", "home/vcap/deps/", "home/vcap/deps/2/file", "home/vcap/deps/2/more",
                "home/vcap/deps/2/",
            ])
        #expect(two.map(\.userID) == [0, 2000, 2000, 2000, 2000, 2000])
        let rest = try entries(of: decompressed(sink.bytes(converted.layers[4].stored)))
        #expect(rest.contains { $0.name == Array("home/vcap/deps/3".utf8) })
        #expect(rest.contains { $0.name == Array("home/vcap/deps/x/file".utf8) })
        #expect(rest.contains { $0.name == Array("home/vcap/deps/current".utf8) })
    }

    @Test("with a hard link from one layer to another must be converted again as single")
    func crossing() async throws {
        for (file, link) in [("deps/0/a", "app/b"), ("app/a", "deps/0/b"), ("deps/0/a", "deps/1/b")] {
            let tar = HandMadeTar.make { tar in
                tar.file(file, "x")
                tar.hardLink(link, to: file)
            }
            let sink = MemorySink()
            let error = await #expect(throws: ConversionError.self) {
                try await convertDroplet(Chunks(tar), settings: LayerSettings(mode: .split), sink: sink)
            }
            #expect(error?.fault == .crossesLayers)
            #expect(error?.entry == link)
            #expect(sink.openWriters == 0 && sink.finishedLayers == 0)
            let single = try await convertDroplet(Chunks(tar), sink: sink)
            #expect(single.layers.count == 1)
        }
    }

    @Test("with too many dependencies must be converted again as single")
    func tooMany() async throws {
        let tar = HandMadeTar.make { tar in
            for index in 0..<25 { tar.file("deps/\(index)/x") }
        }
        let error = await #expect(throws: ConversionError.self) {
            try await convertDroplet(Chunks(tar), settings: LayerSettings(mode: .split), sink: MemorySink())
        }
        #expect(error?.fault == .crossesLayers)
        let single = try await convertDroplet(Chunks(tar), sink: MemorySink())
        #expect(single.layers.map(\.group) == [.rest])
    }
}
