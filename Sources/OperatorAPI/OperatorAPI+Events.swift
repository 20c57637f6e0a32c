import HTTPServer
import HTTPTypes
import JSON
import Runtime

// What happens, as server-sent events (HTML Living Standard, "Server-sent events").
extension OperatorAPI {
    var eventRoute: OperatorRoute {
        OperatorRoute(
            .get, "/api/v1/events",
            "Tells of uploads, staging, promotions and clusters as they happen, until the client goes. The event `missed` says to look at the state itself.",
            answers: [200: .file(["text/event-stream"])]
        ) { request in
            let events = events
            let start = request.headers[.lastEventID].map { Self.position($0, in: events) } ?? events.last
            return .stream(contentType: "text/event-stream") { send in
                var position = start
                // Something at once, so that the client knows that it is connected.
                try await send(Array(": cistern\n\n".utf8))
                while let next = await events.next(after: position) {
                    switch next {
                    case .nothing: try await send(Array(":\n\n".utf8))
                    case .missed(let last):
                        position = last
                        try await send(Self.text("missed", [:], id: "\(events.origin)-\(last)"))
                    case .events(let found):
                        for event in found {
                            position = event.number
                            try await send(Self.text(event.kind, event.data, id: "\(events.origin)-\(event.number)"))
                        }
                    }
                }
            }
        }
    }

    /// What a client heard last; -1, which nothing comes after without a gap, for ids of an earlier process.
    private static func position(_ id: String, in events: Events) -> Int {
        let parts = id.split(separator: "-")
        guard parts.count == 2, parts[0] == events.origin, let number = Int(parts[1]), number >= 0 else { return -1 }
        return number
    }

    private static func text(_ kind: String, _ data: JSONValue, id: String) -> [UInt8] {
        // Canonical JSON has no line breaks.
        Array("id: \(id)\nevent: \(kind)\ndata: \(data.canonicalText)\n\n".utf8)
    }
}

extension HTTPField.Name {
    fileprivate static var lastEventID: HTTPField.Name { HTTPField.Name("Last-Event-ID") ?? .eTag }
}
