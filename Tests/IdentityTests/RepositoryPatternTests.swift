import Testing

@testable import Identity

@Suite("Repository patterns")
struct RepositoryPatternTests {
    @Test(
        "A pattern names what it should and nothing else",
        arguments: [
            ("a", ["a"], ["", "b", "aa", "a/b", "A"]),
            ("a/b", ["a/b"], ["a", "a/b/c", "a/bb", "xa/b", "a//b", "/a/b", "a/b/"]),
            ("*", ["a", "abc"], ["", "a/b"]),
            ("base/*", ["base/alpine"], ["base", "base/", "base/a/b", "xbase/a", "basement/a"]),
            ("*/x", ["a/x"], ["x", "a/y", "a/b/x"]),
            ("team-*/*", ["team-/a", "team-a/b"], ["team/a", "team-a", "team-a/b/c"]),
            ("a*b*c", ["abc", "axxbyyc", "abbc", "abcbc"], ["ab", "acb", "abcd", "xabc", "a/b/c"]),
            ("**", ["a", "a/b/c"], [""]),
            ("team-a/**", ["team-a/b", "team-a/b/c"], ["team-a", "team-a/", "team-ab/c", "team-aa", "x/team-a/b"]),
            ("a/*/**", ["a/b/c", "a/b/c/d"], ["a/b", "a/b/", "a//c"]),
        ])
    func matching(text: String, names: [String], others: [String]) throws {
        let pattern = try RepositoryPattern(text)
        #expect(names.filter { !pattern.matches($0) } == [])
        #expect(others.filter(pattern.matches) == [])
    }

    @Test("The longest names and patterns take no more time than their lengths allow", .timeLimit(.minutes(5)))
    func time() throws {
        let pattern = try RepositoryPattern(String(repeating: "a*", count: 127))
        let name = String(repeating: "a", count: 2000) + "b/"
        for _ in 0..<3 { #expect(!pattern.matches(name)) }
    }

    @Test("What is allowed everywhere, somewhere and for everybody adds up, and no more")
    func rights() throws {
        let (mine, base) = (try RepositoryPattern("mine/**"), try RepositoryPattern("base/*"))
        let user = Principal(name: "u", roles: [], repositories: [mine: [.push], base: [.pull]])
        #expect(user.may(.push, on: "mine/x") && user.may(.pull, on: "mine/x") && user.may(.pull, on: "base/x"))
        #expect(!user.may(.push, on: "base/x") && !user.may(.pull, on: "other/x"))
        #expect(!user.may(.pull) && !user.may(.push))
        #expect(user.holdsSomewhere(.pull) && user.holdsSomewhere(.push))
        #expect(!user.holdsSomewhere(.stage) && !user.holdsSomewhere(.operator))
        let puller = Principal(name: "p", roles: [.pull], repositories: [mine: [.push]])
        #expect(puller.may(.pull, on: "other/x") && puller.may(.push, on: "mine/x") && !puller.may(.push, on: "o/x"))
        let chief = Principal(name: "o", roles: [.operator])
        #expect(Role.allCases.allSatisfy { chief.may($0) && chief.may($0, on: "any/x") && chief.holdsSomewhere($0) })
        #expect(Role.allCases.allSatisfy { !Principal(name: "n", roles: []).holdsSomewhere($0) })
    }
}
