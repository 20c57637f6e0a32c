import Metrics

/// Metrics of requests, with handles that are made once: by route pattern and status class `http_requests` and
/// `http_request_duration`; of all together `http_requests_in_flight`, `http_request_bytes` and `http_response_bytes`.
/// Without a metrics backend they do nothing.
final class RequestMetrics: Sendable {
    /// The name of the route for requests that match none.
    static let noRoute = "none"

    private struct Route: Sendable {
        /// By status class: 1xx to 5xx.
        let counters: [Counter]
        let timers: [Timer]
    }

    private let routes: [String: Route]
    private let inFlight: Meter
    private let received: Counter
    private let sent: Counter

    /// - Parameter routes: the routes' names, as in `Routes.Route.name`.
    init(routes: some Sequence<String>, factory: any MetricsFactory) {
        var made: [String: Route] = [:]
        for name in [Self.noRoute] + routes where made[name] == nil {
            let dimensions = (1...5).map { [("route", name), ("status", "\($0)xx")] }
            made[name] = Route(
                counters: dimensions.map { Counter(label: "http_requests", dimensions: $0, factory: factory) },
                timers: dimensions.map { Timer(label: "http_request_duration", dimensions: $0, factory: factory) })
        }
        self.routes = made
        inFlight = Meter(label: "http_requests_in_flight", factory: factory)
        received = Counter(label: "http_request_bytes", factory: factory)
        sent = Counter(label: "http_response_bytes", factory: factory)
    }

    func began() { inFlight.increment() }

    func ended(route: String, status: Int, received: Int64, sent: Int64, nanoseconds: Int64) {
        inFlight.decrement()
        self.received.increment(by: received)
        self.sent.increment(by: sent)
        guard let route = routes[route] else { return }
        let index = min(max(status / 100, 1), 5) - 1
        route.counters[index].increment()
        route.timers[index].recordNanoseconds(nanoseconds)
    }
}
