import Testing

@testable import Launcher

@Suite("DATABASE_URL")
struct DatabaseURLTests {
    private func services(_ uri: String) -> String { #"{"db":[{"credentials":{"uri":"\#(uri)"}}]}"# }

    @Test(
        "A database's scheme is the one that frameworks expect",
        arguments: [
            ("mysql://u:p@h:3306/db?x=1", "mysql2://u:p@h:3306/db?x=1"), ("mysql2://h/db", "mysql2://h/db"),
            ("postgres://h/db", "postgres://h/db"), ("postgresql://h/db", "postgres://h/db"),
            ("POSTGRESQL://h/db", "postgres://h/db"), ("postgres:opaque", "postgres:opaque"),
            ("postgres://u:p%40%2F@h/db", "postgres://u:p%40%2F@h/db"),
            ("postgres://u:p@ss:w@h:1/d", "postgres://u:p%40ss%3Aw@h:1/d"),
            ("mysql://h/a b?c d", "mysql2://h/a%20b?c d"),
            ("postgres://u:p@[::1]:5432/d", "postgres://u:p@[::1]:5432/d"),
            ("postgres://h1:1,h2:2/d", "postgres://h1:1,h2:2/d"),
            ("postgres://u:p^@h/d", nil), ("postgres://u:p#w@h/d", nil), ("postgres://u:p%zz@h/d", nil),
            ("postgres://u:p[1]@h/d", nil), ("postgres://h:port/d", nil), ("postgres://u:pé@h/d", nil),
            ("redis://h", nil), ("http://h", nil), ("postgres", nil), ("", nil), ("://h", nil),
            ("postgres://h/\\ndb", nil),
        ] as [(String, String?)])
    func scheme(uri: String, expected: String?) {
        #expect(DatabaseURL.first(in: services(uri)) == expected)
    }

    @Test("The first database counts: services in the order of their labels, instances in their own")
    func order() {
        let text = """
            {"z":[{"credentials":{"uri":"mysql://z"}}],
             "b":[{"credentials":{"uri":"redis://b0"}},{"credentials":{"uri":"mysql://b1"}},{"credentials":{"uri":"mysql://b2"}}],
             "a":[{"name":"no credentials"},{"credentials":{"uri":5}},{"credentials":{}},{"credentials":{"credhub-ref":"x"}}]}
            """
        #expect(DatabaseURL.first(in: text) == "mysql2://b1")
    }

    @Test(
        "What is not the shape of VCAP_SERVICES gives none",
        arguments: ["", "{", "[]", "{}", #"{"a":{}}"#, #"{"a":[1,null,"x"]}"#, #"{"a":[{"credentials":"x"}]}"#])
    func otherShapes(text: String) { #expect(DatabaseURL.first(in: text) == nil) }
}
