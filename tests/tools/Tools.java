import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one virtual machine, because starting one for each takes most of the time.
 *
 * <p>Argument: a file of steps, a line each: {@code name | pattern | class arguments...}. The pattern must be found in what the tool prints.
 * {@code < FILE} at the end is its input, {@code > FILE} takes its output. A class after {@code alone} gets a virtual machine of its own, for
 * tools that print when theirs ends. What stands after {@code until} is repeated until it is as it should be. Prints {@code ok name} or
 * {@code not name: why}.
 */
public class Tools {
    static final long STEP_MILLIS = 60_000;
    /** What a broker does in its own time is waited for so long: a cleaner may rest for 15 s before it looks again. */
    static final long UNTIL_MILLIS = 120_000;
    static final PrintStream REPORT = System.out;

    /** What the running tool asked for first: tools that catch everything call exit again for our own exception. */
    static final AtomicReference<Integer> STATUS = new AtomicReference<>();
    /** What the running tool wants to be done at its end. */
    static final List<Runnable> HOOKS = Collections.synchronizedList(new ArrayList<>());

    static final class Ended extends RuntimeException {
        Ended(int status) {
            super("exit " + status, null, false, false);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Exit.Procedure end = (status, message) -> {
            STATUS.compareAndSet(null, status);
            throw new Ended(status);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            if (!line.isBlank()) {
                String[] parts = line.split(" \\| ", 3);
                String problem = steps(parts[1].trim(), parts[2].trim());
                REPORT.println(problem == null ? "ok " + parts[0].trim() : "not " + parts[0].trim() + ": " + problem);
                REPORT.flush();
            }
        }
        // threads of tools that did not end would keep this program alive
        Runtime.getRuntime().halt(0);
    }

    static String steps(String pattern, String command) throws Exception {
        if (!command.startsWith("until ")) {
            return step(pattern, command);
        }
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(UNTIL_MILLIS);
        while (true) {
            String problem = step(pattern, command.substring("until ".length()));
            if (problem == null || System.nanoTime() - end > 0) {
                return problem;
            }
            Thread.sleep(1_000);
        }
    }

    static String step(String pattern, String command) throws Exception {
        String output = null;
        InputStream input = InputStream.nullInputStream();
        List<String> words = new ArrayList<>(List.of(command.split(" +")));
        for (int at = words.size() - 2; at > 0; at = words.size() - 2) {
            if (words.get(at).equals("<")) {
                input = new FileInputStream(words.get(at + 1));
            } else if (words.get(at).equals(">")) {
                output = words.get(at + 1);
            } else {
                break;
            }
            words = words.subList(0, at);
        }
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setIn(input);
        System.setOut(stream);
        System.setErr(stream);
        String problem = words.get(0).equals("alone")
            ? alone(words.subList(1, words.size()), stream)
            : run(words.get(0), words.subList(1, words.size()).toArray(String[]::new));
        String text = printed.toString(StandardCharsets.UTF_8);
        if (output != null) {
            Files.writeString(Path.of(output), text);
        }
        if (problem == null && !Pattern.compile(pattern).matcher(text).find()) {
            problem = "no '" + pattern + "' in its output";
        }
        return problem == null ? null : problem + ": " + tail(text);
    }

    static String alone(List<String> words, PrintStream out) throws Exception {
        List<String> command = new ArrayList<>(List.of("java", "-cp", System.getProperty("java.class.path")));
        command.addAll(words);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        Thread copier = new Thread(() -> {
            try {
                process.getInputStream().transferTo(out);
            } catch (IOException ended) {
                out.println(ended);
            }
        });
        copier.start();
        if (!process.waitFor(STEP_MILLIS, TimeUnit.MILLISECONDS)) {
            process.destroyForcibly();
            return "not done within " + STEP_MILLIS / 1000 + " s";
        }
        copier.join();
        return process.exitValue() == 0 ? null : "exit " + process.exitValue();
    }

    static String run(String name, String[] arguments) throws Exception {
        var main = Class.forName(name).getMethod("main", String[].class);
        AtomicReference<String> problem = new AtomicReference<>();
        STATUS.set(null);
        HOOKS.clear();
        Thread thread = new Thread(() -> {
            try {
                main.invoke(null, (Object) arguments);
            } catch (InvocationTargetException thrown) {
                if (!(thrown.getCause() instanceof Ended)) {
                    problem.set(thrown.getCause().toString());
                }
            } catch (Throwable thrown) {
                problem.set(thrown.toString());
            }
            List.copyOf(HOOKS).forEach(Runnable::run);
        });
        thread.setDaemon(true);
        thread.start();
        thread.join(STEP_MILLIS);
        if (thread.isAlive()) {
            thread.interrupt();
            return "not done within " + STEP_MILLIS / 1000 + " s";
        }
        Integer status = STATUS.get();
        return status == null || status == 0 ? problem.get() : "exit " + status;
    }

    static String tail(String text) {
        String flat = text.strip().replaceAll("\\s*\\n\\s*", " / ");
        return flat.length() <= 400 ? flat : "..." + flat.substring(flat.length() - 400);
    }
}
