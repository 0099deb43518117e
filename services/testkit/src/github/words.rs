//! The seed's raw material: what people, sites, bugs and remarks of an invented web compatibility tracker are called.
//!
//! All of it is the project's own text; sites use the reserved `.example` domain, so that no real one is accused.

/// Accounts that report, triage and fix.
pub(super) const PEOPLE: &[&str] = &[
    "amara-osei",
    "bjorn-k",
    "chidi42",
    "dalia-r",
    "emeka-dev",
    "fumiko-t",
    "goran-m",
    "hana-lee",
    "ingrid-sol",
    "jpduarte",
    "kavya-s",
    "lumi-saari",
    "marek-w",
    "noor-h",
    "oskar-lind",
    "priya-n",
    "quentin-b",
    "rosa-mbeki",
    "sven-ostrow",
    "tariq-a",
    "uma-pillai",
    "vera-kostic",
    "wanjiru-n",
    "xavi-roca",
    "yuki-mori",
    "zofia-dab",
];
/// Those of [`PEOPLE`] (from the front) who belong to the project.
pub(super) const MEMBERS: usize = 7;

/// Where the bugs are.
pub(super) const SITES: &[&str] = &[
    "www.fahrplan-nord.example",
    "shop.tulipa.example",
    "m.cricketlive.example",
    "bank.sparhaus.example",
    "news.dagbladet.example",
    "www.müsli-mixer.example",
    "play.pixelforge.example",
    "tickets.arena-sul.example",
    "mail.postduif.example",
    "video.kinobox.example",
    "www.天気予報.example",
    "maps.wanderweg.example",
    "www.recettes-de-mamie.example",
    "forum.gearheads.example",
    "learn.algebra-club.example",
    "www.cityhall-lagos.example",
    "hotel.bergblick.example",
    "stream.radio-fjord.example",
    "jobs.werkbank.example",
    "www.flores-del-sur.example",
    "drive.cloudcabinet.example",
    "chat.teahouse.example",
    "www.apotheke-24.example",
    "games.boardnight.example",
    "docs.papertrail.example",
    "www.metro-tbilisi.example",
    "photos.snapshelf.example",
    "www.zoo-aurora.example",
    "tax.minfin.example",
    "www.librería-luna.example",
    "sport.halbzeit.example",
    "www.kitabghar.example",
];

/// A symptom: what a title says, the problem type, what a reporter writes.
pub(super) const SYMPTOMS: &[(&str, &str, &str)] = &[
    (
        "video does not play",
        "Video or audio doesn't play",
        "The player shows its first frame and a spinner, the sound never starts.",
    ),
    (
        "video stutters in full screen",
        "Video or audio doesn't play",
        "Every few seconds the video freezes while the sound goes on.",
    ),
    (
        "audio is out of sync after seeking",
        "Video or audio doesn't play",
        "After jumping ahead, lips and words are half a second apart.",
    ),
    (
        "page is blank after the cookie banner is closed",
        "Site is not usable",
        "Choosing “reject all” leaves a white page; a reload brings the banner back.",
    ),
    (
        "browser is reported as unsupported",
        "Browser unsupported",
        "A full page notice asks me to install another browser. With a changed user agent all works.",
    ),
    (
        "login button does nothing",
        "Site is not usable",
        "No request is sent, the console says `event is not defined`.",
    ),
    (
        "can not sign in with a passkey",
        "Site is not usable",
        "The passkey prompt opens and closes at once.",
    ),
    (
        "menu covers the whole page",
        "Design is broken",
        "The menu is laid out for a desktop although the screen is 360 px wide.",
    ),
    (
        "text overlaps in the footer",
        "Design is broken",
        "Two lines of the footer are drawn over each other, see the screenshot.",
    ),
    (
        "images are stretched",
        "Design is broken",
        "`aspect-ratio` together with `min-height` gives a wrong width.",
    ),
    (
        "scrolling jumps back to the top",
        "Site is not usable",
        "Each time the advert above reloads, the page jumps. Reading is impossible 😖",
    ),
    (
        "date picker can not be opened",
        "Something else",
        "The field takes the focus, but no calendar appears.",
    ),
    (
        "keyboard hides the input field",
        "Design is broken",
        "On a phone the on-screen keyboard covers the field one types into.",
    ),
    (
        "payment form rejects a valid card",
        "Site is not usable",
        "The expiry month is formatted `٠٣` in this locale, and the form wants `03`.",
    ),
    (
        "map tiles are missing",
        "Desktop site instead of mobile site",
        "About every third tile stays grey until one zooms.",
    ),
    (
        "fonts fall back to serif",
        "Design is broken",
        "The web font is served without CORS headers.",
    ),
    (
        "drag and drop of files fails",
        "Something else",
        "Dropping a file opens it in the tab in place of uploading it.",
    ),
    (
        "print preview is cut off",
        "Something else",
        "Only the first page is printed, the rest is lost.",
    ),
    (
        "dark theme makes labels unreadable",
        "Design is broken",
        "Black on near-black: contrast 1.2 : 1.",
    ),
    (
        "search suggestions flicker",
        "Design is broken",
        "The list opens and closes with each key.",
    ),
    (
        "infinite redirect on the start page",
        "Site is not usable",
        "`/` → `/m/` → `/` and so on, until the browser gives up.",
    ),
    (
        "captcha never finishes",
        "Site is not usable",
        "I picked traffic lights for five minutes, the check starts again each time.",
    ),
    (
        "downloads have the wrong file name",
        "Something else",
        "`Überweisung.pdf` arrives as `_berweisung.pdf`.",
    ),
    (
        "page uses one CPU core while idle",
        "Something else",
        "A timer with 0 ms runs for ever; the fan is loud, the battery empty.",
    ),
    (
        "copy to clipboard is blocked",
        "Something else",
        "The button says “copied”, the clipboard still has the old text.",
    ),
    (
        "right-to-left text is mirrored twice",
        "Design is broken",
        "שלום becomes םולש, and punctuation wanders to the wrong end.",
    ),
];

/// What a reporter did, one after the other.
pub(super) const STEPS: &[&str] = &[
    "Open the page",
    "Accept or reject the cookies",
    "Scroll down to the first article",
    "Press *play*",
    "Rotate the phone",
    "Sign in with a test account",
    "Wait for about ten seconds",
    "Open the menu in the upper right corner",
    "Type `äöü` into the search field",
    "Press **Continue**",
    "Switch to another tab and back",
    "Zoom to 200 %",
    "Reload with an empty cache",
];

/// Product and version.
pub(super) const BROWSERS: &[&str] = &[
    "Firefox 131.0",
    "Firefox Mobile 130.0",
    "Firefox Nightly 134.0a1 (2024-11-04)",
    "Firefox ESR 128.4",
    "Safari 18.1",
    "Chrome 130.0",
    "Samsung Internet 26.0",
];
/// What it ran on.
pub(super) const SYSTEMS: &[&str] = &[
    "Android 14",
    "Windows 11",
    "macOS 15.1",
    "Ubuntu 24.04",
    "Android 12",
    "iOS 18",
    "Fedora 41",
];

/// What people say in comments. `{site}` and `{person}` are filled in.
pub(super) const REMARKS: &[&str] = &[
    "Thanks for the report. I can reproduce this on {site} with a fresh profile.",
    "I can not reproduce it here. Could you attach a screenshot, and say whether an ad blocker is active?",
    "Same here since last week, on two machines.",
    "It works for me in Nightly, so this may be fixed already. @{person}, could you try again?",
    "Reduced test case:\n\n```html\n<div style=\"display: grid; aspect-ratio: 1; min-height: 40vh\"></div>\n```\n\nThe first two engines disagree about the width.",
    "The script sniffs the user agent:\n\n```js\nif (!/Chrome\\/\\d+/.test(navigator.userAgent)) { location = '/unsupported'; }\n```",
    "I wrote to their support through the contact form. No answer so far.",
    "> The player shows its first frame\n\nThat is autoplay being blocked; there is no fallback in the page.",
    "Moving to *needsdiagnosis*. @{person}, this one looks like your area.",
    "👍 confirmed with the newest release.",
    "Still broken after the site's redesign, see https://{site}/changelog.",
    "Regression range: good 2024-05-02, bad 2024-05-03. The only suspicious change is the new scroll anchoring.",
    "This is a duplicate, I think: the same library is used on three other sites.",
    "They answered: a fix is planned for “the next quarter”. Leaving this open until it is live.",
    "Fixed on their side. Thank you, @{person}! 🎉",
    "| browser | result |\n| --- | --- |\n| Firefox | broken |\n| Chrome | works |\n| Safari | broken in another way |",
    "The console has `TypeError: can't access property \"then\", x.play() is undefined`.",
    "Просто обновите страницу дважды: тогда работает.",
    "这个问题在我的手机上也出现了。",
    "Closing for lack of an answer; please reopen with the details asked for above.",
];

/// Labels: name, colour, description.
pub(super) const LABELS: &[(&str, &str, &str)] = &[
    ("browser-firefox", "ff9500", "Seen in Firefox on a desktop"),
    ("browser-firefox-mobile", "ffbd4f", "Seen in Firefox on Android"),
    ("browser-safari", "0a84ff", "Seen in Safari"),
    ("engine-gecko", "b5007f", "Depends on the engine"),
    ("os-android", "3ddc84", "Android only"),
    ("severity-critical", "b60205", "The site can not be used"),
    ("severity-important", "d93f0b", "A main function is broken"),
    ("severity-minor", "fbca04", "Annoying"),
    ("type-media", "5319e7", "Video and audio"),
    ("type-layout", "1d76db", "Layout and style"),
    ("type-uaoverride", "c5def5", "A changed user agent helps"),
    ("type-login", "0e8a16", "Signing in"),
    ("priority-high", "e11d21", "Before the next release"),
    ("needs-info", "d4c5f9", "Waits for the reporter"),
    ("help wanted", "008672", "Come and join"),
    ("good first issue", "7057ff", "For newcomers"),
    ("site-wait", "bfdadc", "Waits for the site"),
    ("trend-cookie-banner", "fef2c0", "One of many with a consent dialog"),
    ("日本語", "ededed", "Report in Japanese"),
];

/// Milestones are the tracker's states. The first five are open.
pub(super) const MILESTONES: &[&str] = &[
    "needstriage",
    "needsdiagnosis",
    "needscontact",
    "contactready",
    "sitewait",
    "duplicate",
    "fixed",
    "worksforme",
    "invalid",
];

/// Issue types: name, colour.
pub(super) const TYPES: &[(&str, &str)] = &[("Bug", "red"), ("Task", "yellow"), ("Feature", "blue")];

/// What is worked on beside reports: titles of plain issues.
pub(super) const TASKS: &[&str] = &[
    "Triage template: ask for the blocker list",
    "Weekly report counts duplicates twice",
    "Document how to record a network log",
    "Rename milestone “contactready”",
    "Dashboard: bugs by engine and month",
    "Automate the reminder for needs-info",
    "List the sites with a consent dialog that breaks scrolling",
    "Accessibility review of the report form",
    "Spam wave of last night: clean up",
];

/// Titles of pull requests.
pub(super) const PULLS: &[&str] = &[
    "Add a user agent override for {site}",
    "Inject a shim for the media player on {site}",
    "Remove the intervention for {site}, fixed upstream",
    "Correct the label of the reporter form",
    "Bump the linter and fix what it found",
    "Test the consent shim with a slow network",
];

/// Commit messages.
pub(super) const COMMITS: &[&str] = &[
    "Add the override",
    "Address review comments",
    "Test it on a slow network",
    "Fix the lint",
    "Explain why the shim waits for `load`",
];

/// What the moderators keep out of the public tracker: title, text. Fixed words, so that tests can look for leaks.
pub(super) const SECRETS: &[(&str, &str)] = &[
    (
        "account page shows another customer's address",
        "After signing in I see the name and street of somebody else: Quillfeather, 7 Larkspur Lane.",
    ),
    (
        "clinic portal loses the test results",
        "The results page of my blood test (Zephyrine panel) is empty on the phone.",
    ),
    (
        "dating profile can not be removed",
        "The button “forget me” fails; my handle there is moonquokka.",
    ),
    (
        "staff-only timetable is reachable",
        "https://{site}/internal/rota opens without a password. Word of the day: brimblewick.",
    ),
];
