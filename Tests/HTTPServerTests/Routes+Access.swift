import HTTPTypes
import Identity

@testable import HTTPServer

/// Routes of tests, which stand in no table.
extension Routes {
    mutating func get(
        _ pattern: RoutePattern, access: Access, execution: Execution = .pool, _ handler: @escaping Handler
    ) { on(.get, pattern, access: access, execution: execution, handler) }

    mutating func head(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.head, pattern, access: access, handler)
    }

    mutating func put(_ pattern: RoutePattern, access: Access, _ handler: @escaping Handler) {
        on(.put, pattern, access: access, handler)
    }
}
