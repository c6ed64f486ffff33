//! A real browser, Debian's chromium, driven over WebDriver: a few requests with JSON in them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{HANG, skip, until};

/// What WebDriver calls an element in its answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a browser looks at pages.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
    pub(crate) has_script: bool,
}

pub(crate) const WIDE: Look = Look { width: 1600, height: 1000, is_dark: false, has_script: true };
pub(crate) const NARROW: Look = Look { width: 360, height: 740, is_dark: false, has_script: true };

/// A browser with one tab. It ends when this is dropped.
pub(crate) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    look: Look,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts one; nothing, and says so, where there is none.
    pub(crate) fn start(look: Look) -> Option<Browser> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let has = |name: &str| std::env::split_paths(&paths).any(|path| path.join(name).is_file());
        if !has("chromedriver") || !has("chromium") {
            skip("chromium and its driver are not installed");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(driver.stdout.take().unwrap());
        let mut lines = said.lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, rest) = line.split_once("successfully on port ")?;
            Some(rest.trim_end_matches('.').to_owned())
        });
        // It must not find its output closed.
        std::thread::spawn(move || lines.for_each(drop));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(2 * HANG))
            .http_status_as_error(false)
            .build();
        let mut browser = Browser {
            driver,
            agent: config.into(),
            session: format!("http://127.0.0.1:{}/session", port.expect("the driver's port")),
            look,
            _home: home,
        };
        browser.open(look);
        Some(browser)
    }

    fn open(&mut self, look: Look) {
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".into(),
            "--disable-dev-shm-usage".into(),
            "--disable-gpu".into(),
            "--hide-scrollbars".into(),
            "--lang=en-GB".into(),
            format!("--window-size={},{}", look.width.max(600), look.height),
        ];
        arguments.push(format!("--user-data-dir={}", self._home.path().join("profile").display()));
        let script = if look.has_script { 1 } else { 2 };
        let asked = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {
                "args": arguments,
                "prefs": {
                    "profile.managed_default_content_settings.javascript": script,
                    "profile.default_content_settings.popups": 0,
                    "download.default_directory": self.downloads(),
                    "download.prompt_for_download": false,
                },
            },
        }}});
        let made = self.exchange("", &asked);
        self.session = format!("{}/{}", self.session, made["sessionId"].as_str().unwrap());
        let metrics = json!({
            "width": look.width, "height": look.height, "deviceScaleFactor": 1,
            "mobile": look.width < 600,
        });
        self.cdp("Emulation.setDeviceMetricsOverride", &metrics);
        self.set_dark(look.is_dark);
    }

    pub(crate) fn set_dark(&self, is_dark: bool) {
        let value = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.cdp("Emulation.setEmulatedMedia", &features);
    }

    /// Where the browser puts what it downloads.
    pub(crate) fn downloads(&self) -> std::path::PathBuf {
        self._home.path().join("downloads")
    }

    fn exchange(&self, what: &str, asked: &Value) -> Value {
        let address = format!("{}{what}", self.session);
        let request = self.agent.post(&address).header("content-type", "application/json");
        let mut answer = request.send(asked.to_string()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let value = told["value"].clone();
        assert!(answer.status().is_success(), "{what} {asked}: {value}");
        value
    }

    /// Asks in the language of chromium's own tools.
    pub(crate) fn cdp(&self, command: &str, parameters: &Value) -> Value {
        self.exchange("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    pub(crate) fn goto(&self, address: &str) {
        self.exchange("/url", &json!({"url": address}));
    }

    /// What a script gives.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.exchange("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&self, expression: &str) {
        let mut last = Value::Null;
        let begun = std::time::Instant::now();
        while last != true {
            assert!(begun.elapsed() < HANG, "never {expression}:\n{}", self.text("body"));
            last = self.run(&format!("return Boolean({expression})"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the text of an element contains this.
    pub(crate) fn says(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((own) => own.checkVisibility() && own.innerText.includes({text}))"
        ));
    }

    /// The text of an element, as a person sees it.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({}).innerText", json!(selector));
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// An element, once it is there and can be seen; one that takes files never is.
    fn find(&self, selector: &str) -> String {
        let found = || {
            let asked = json!({"using": "css selector", "value": selector});
            let all = self.exchange("/elements", &asked);
            all[0][ELEMENT].as_str().map(str::to_owned)
        };
        let mut element = found();
        until(&format!("there is {selector}"), || {
            element = found();
            element.is_some()
        });
        element.unwrap()
    }

    pub(crate) fn click(&self, selector: &str) {
        let visible = format!("document.querySelector({})?.checkVisibility()", json!(selector));
        self.until(&visible);
        let element = self.find(selector);
        self.exchange(&format!("/element/{element}/click"), &json!({}));
    }

    /// The same where no script runs.
    pub(crate) fn click_plain(&self, selector: &str) {
        let element = self.find(selector);
        self.exchange(&format!("/element/{element}/click"), &json!({}));
    }

    /// The page's HTML.
    pub(crate) fn source(&self) -> String {
        let mut answer = self.agent.get(&format!("{}/source", self.session)).call().unwrap();
        let told: Value =
            serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        told["value"].as_str().unwrap().to_owned()
    }

    /// Clicks the button with exactly this text among those that a selector finds.
    pub(crate) fn press(&self, within: &str, text: &str) {
        let (within, text) = (json!(within), json!(text));
        let found = format!(
            "[...document.querySelectorAll({within})].find((own) => own.checkVisibility() && own.innerText.trim() === {text})"
        );
        self.until(&found);
        self.run(&format!("{found}.click()"));
    }

    /// Types into an element, in place of what is there.
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.exchange(&format!("/element/{element}/clear"), &json!({}));
        self.exchange(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Gives files to an element that takes them.
    pub(crate) fn give(&self, selector: &str, files: &[&Path]) {
        let element = self.find(selector);
        let names: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let text = json!({"text": names.join("\n")});
        self.exchange(&format!("/element/{element}/value"), &text);
    }

    /// Presses keys, wherever the focus is. `\u{E007}` is Enter: WebDriver lists them.
    pub(crate) fn keys(&self, keys: &str) {
        let pressed = keys.chars().flat_map(|key| {
            [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})]
        });
        let actions: Vec<_> = pressed.collect();
        let keyboard = json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]});
        self.exchange("/actions", &keyboard);
    }

    /// The page as a picture in PNG, as high as the window.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let told = self.cdp("Page.captureScreenshot", &json!({"format": "png"}));
        decode(told["data"].as_str().unwrap())
    }

    /// What a page must not do: reach beyond its width, ask another origin, break its own policy, fail in
    /// its script.
    pub(crate) fn check_page(&self) {
        let wide = self.run("return document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(self.look.width), "{wide} wide");
        let others = self.run(
            "return performance.getEntriesByType('resource').map((own) => own.name)
                .filter((own) => !own.startsWith(location.origin + '/'))",
        );
        assert_eq!(others, json!([]));
        for line in self.exchange("/se/log", &json!({"type": "browser"})).as_array().unwrap() {
            let text = line["message"].as_str().unwrap();
            // A request that was refused is said as well, which is what some tests are about.
            let is_bad = text.contains("Content Security Policy") || line["source"] == "javascript";
            assert!(!is_bad, "{text}");
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser with it.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let digits = text.bytes().filter_map(|byte| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    });
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits {
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    out
}
